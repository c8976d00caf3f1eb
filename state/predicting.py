"""Predictions as their owner handles them: submit, find, list, cancel; the worker and the replica do the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select, update

from core.clock import now_micros, to_micros
from core.errors import Conflict
from core.ids import new_id
from state.advance import lock
from state.database import Session, WriteSession
from state.endings import Locked, cancel
from state.history import By, begin
from state.operations import Who
from state.parts import check_part
from state.queries.lists import Page, View, page
from state.queries.rows import by_ids, owned
from state.queries.services import served_by, signature_served
from state.tables import Prediction, Service
from state.worktables import PREDICTIONS

LANE = "predict"


class PredictionIdTaken(Conflict):
    """The id that the client chose belongs to another prediction, or to one that was submitted with another body."""

    code, title = "id_taken", "The id is taken"


@dataclass(frozen=True, slots=True)
class Submission:
    """What a client submits: the body itself, or the digest of the blob that holds it; an id of its own, or none.

    `options` say how the body is read and answered: the `content_type` of one that is no JSON, `on_error`.
    `request_sha256` is for those with an id of their own: what tells a retry from another submission. `part` is the key
    of the one that is asked where the version has several. It is canceled if it has not ended after `cancel_after`.
    """

    body: Mapping[str, object] | None
    body_digest: str | None
    base_url: str
    webhook: str | None = None
    webhook_events: Sequence[str] | None = None
    id: str | None = None
    cancel_after: timedelta | None = None
    options: Mapping[str, str] | None = None
    request_sha256: str | None = None
    part: str | None = None


async def submit_prediction(session: WriteSession, who: Who, service: Service, wanted: Submission) -> Prediction:
    """A prediction that starts as soon as a worker takes it, or the one that the client made with this id before.

    Raises `PredictionIdTaken`, and `InvalidField` for a part that the service does not have.
    """
    if wanted.id is not None:
        earlier = (await by_ids(session, Prediction, [wanted.id])).get(wanted.id)
        if earlier is not None and (earlier.tenant_id, earlier.service_id) == (who.tenant_id, service.id):
            if earlier.request_sha256 not in (None, wanted.request_sha256):  # None: a release before kept none
                detail = f"the prediction '{wanted.id}' was submitted with another body"
                raise PredictionIdTaken(f"{detail}; send the same one again, or choose another id")
            return earlier
        if earlier is not None:
            raise PredictionIdTaken(f"the id '{wanted.id}' is taken by another prediction; choose another one")
    served = await served_by(session, service)
    if wanted.part is not None:
        words = f"version {served.version} of model '{served.model}'"
        check_part(await signature_served(session, service), wanted.part, words)
    row = Prediction(
        id=wanted.id or new_id("prd"),
        tenant_id=who.tenant_id,
        created_at=now_micros(),
        lane=LANE,
        service_id=service.id,
        service_name=service.name,
        model_name=served.model,
        version=str(served.version),
        part=wanted.part,
        body=None if wanted.body is None else dict(wanted.body),
        body_digest=wanted.body_digest,
        options=dict(wanted.options) if wanted.options else None,
        request_sha256=wanted.request_sha256,
        base_url=wanted.base_url,
        deadline_at=None if wanted.cancel_after is None else session.now + to_micros(wanted.cancel_after),
        webhook=wanted.webhook,
        webhook_events=None if wanted.webhook_events is None else list(wanted.webhook_events),
    )
    await begin(session, row, By(who.actor))
    session.tell("work", LANE, row.id)
    return row


async def find_prediction(session: Session, tenant_id: str, prediction_id: str) -> Prediction:
    """The tenant's prediction. Raises `NotFound`."""
    return await owned(session, Prediction, tenant_id, prediction_id, "prediction")


async def list_predictions(session: Session, tenant_id: str, view: View) -> Page[Prediction]:
    """The tenant's predictions."""
    return await page(session, select(Prediction).where(Prediction.tenant_id == tenant_id), Prediction, view)


async def cancel_prediction(session: WriteSession, who: Who, prediction_id: str) -> Prediction:
    """End one that has not begun, ask the worker to drop one that has; what has ended stays as it is."""
    row = await lock(session, Prediction, (await find_prediction(session, who.tenant_id, prediction_id)).id)
    if row.status == PREDICTIONS.waiting:
        await cancel(session, Locked(row, None), By(who.actor), f"{who.actor} canceled it before it began")
    elif row.status == PREDICTIONS.working and not row.cancel_requested:
        asked = update(Prediction).where(Prediction.id == row.id).values(cancel_requested=True)
        await session.execute(asked.execution_options(synchronize_session=False))
        await session.refresh(row)
        session.tell("changed", "prediction", row.id)
    return row
