"""Documents that the platform both shows and sends: the same bytes' meaning from the API and in a webhook."""

from core.clock import Micros, rfc3339
from core.errors import Json
from state.tables import Prediction


def instant(moment: Micros | None) -> str | None:
    """An RFC 3339 time, or nothing."""
    return None if moment is None else rfc3339(moment)


def prediction_document(row: Prediction) -> dict[str, Json]:
    """The prediction object, in the vocabulary of Replicate's HTTP API (API.md section 4).

    Clients of that API need `input` to be an object: a batch is shown with the name of its spelling. It is left out
    (null) where it lies in the artifact store.
    """
    link = f"{row.base_url}/api/v1/predictions/{row.id}"
    total_s = None if row.completed_at is None else (row.completed_at - row.created_at) / 1_000_000
    metrics = {"predict_time": row.predict_time_s, "total_time": total_s}
    body = row.body or {}
    record = body.get("inputs")
    return {
        "id": row.id,
        "status": row.status,
        "input": record if isinstance(record, dict) else body or None,
        "output": row.output,
        "error": row.error,
        "problem": row.problem,
        "metrics": {name: seconds for name, seconds in metrics.items() if seconds is not None},
        "created_at": instant(row.created_at),
        "started_at": instant(row.started_at),
        "completed_at": instant(row.completed_at),
        "urls": {"get": link, "cancel": f"{link}/cancel", "stream": f"{link}/stream"},
        "service": row.service_name,
        "model": row.model_name,
        "version": row.version,
        "part": row.part,
        "logs": "",
        "webhook": row.webhook,
        "webhook_events_filter": row.webhook_events,
    }
