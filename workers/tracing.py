"""What one claim leaves behind: its ids on every line that is logged within, one line and counts at its end."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from core.logs import log_context
from state.tables import Delivery, Operation, Prediction
from state.worktables import Work
from workers.metrics import WorkMetrics, outcome_of
from workers.outcomes import Failed, Retry, Wait
from workers.recording import Broken, Verdict
from workers.resources import Held

log = logging.getLogger(__name__)

QUIET = ("wait",)  # a deployment waits once for each replica that changes: a line for who debugs


class Trace:
    """One claim on its way; says at the end how it ended."""

    def __init__(self, held: Held, metrics: WorkMetrics) -> None:
        row, lane = held.row, held.claim.lane
        self._held, self._metrics = held, metrics
        self._kind = row.kind if isinstance(row, Operation) else lane
        self._began = time.perf_counter()
        self._verdict: Verdict | None = None
        self._outcome = "lost"
        metrics.claims.labels(lane).inc()
        # Both by the database's clock; what waits for its target counts from when it was woken.
        metrics.start_seconds.labels(lane).observe(max(0, row.since - row.due_at) / 1_000_000)

    def answered(self, verdict: Verdict | None, allowed: int | None) -> None:
        """The handler is over; None says that somebody else has the claim."""
        took_s = time.perf_counter() - self._began
        self._metrics.handler_seconds.labels(self._held.claim.lane, self._kind).observe(took_s)
        self._verdict = verdict
        self._outcome = outcome_of(verdict, attempt=self._held.row.attempt, allowed=allowed)

    def lost(self) -> None:
        """The outcome could not be written."""
        self._verdict, self._outcome = None, "lost"

    def ended(self) -> None:
        """Count it, and say it in a line."""
        lane = self._held.claim.lane
        self._metrics.outcomes.labels(lane, self._kind, self._outcome).inc()
        why = _why(self._verdict)
        level = logging.DEBUG if self._outcome in QUIET else logging.INFO
        took_ms = 1000 * (time.perf_counter() - self._began)
        attempt = self._held.claim.attempt
        log.log(level, "%s: %s after %.0f ms, attempt %d%s", self._kind, self._outcome, took_ms, attempt, why)


@contextmanager
def traced(held: Held, metrics: WorkMetrics) -> Iterator[Trace]:
    """Around all that is done with a claim; a `Trace` that is never `answered` was lost."""
    with work_context(held.row):
        trace = Trace(held, metrics)
        try:
            yield trace
        finally:
            trace.ended()


@contextmanager
def work_context(row: Work) -> Iterator[None]:
    """Every line inside names the work, the request that it came from, and what it is about."""
    operation, prediction, delivery = (
        row.id if isinstance(row, of) else None for of in (Operation, Prediction, Delivery)
    )
    resource: tuple[str | None, str | None, str | None] = (None, None, None)
    if isinstance(row, Operation):
        resource = (row.target_type, row.target_id, row.target_name)
    elif isinstance(row, Prediction):
        resource = ("service", row.service_id, row.service_name)
    elif row.endpoint_id is not None:
        resource = ("webhook", row.endpoint_id, None)
    with log_context(
        request_id=row.request_id,
        operation_id=operation,
        prediction_id=prediction,
        delivery_id=delivery,
        resource_type=resource[0],
        resource_id=resource[1],
        resource_name=resource[2],
        tenant_id=row.tenant_id,
    ):
        yield


def _why(verdict: Verdict | None) -> str:
    match verdict:
        case Failed():
            return f": {verdict.problem.get('detail')}"
        case Broken():
            return f": {verdict.retry.reason}"
        case Retry() | Wait():
            return f": {verdict.reason}"
        case _:
            return ""
