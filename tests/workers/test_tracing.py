"""What work leaves behind: counts by lane, kind and outcome, and one line that names it."""

import json
import logging
import math
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from core.clock import now_micros
from core.errors import NotFound
from core.logs import JsonFormatter, log_context
from state.claims import take
from tests.workers.platform import Platform, answering, wait_for
from workers.metrics import WorkMetrics, outcome_of
from workers.outcomes import Canceled, Done, Failed, Retry, Wait
from workers.recording import Broken, HandBack, Verdict
from workers.rescuer import MAX_RESCUES, rescue_expired
from workers.resources import Clock, Held, Lease
from workers.tracing import traced

LEASE_LOST = 1
PROBLEM = NotFound("gone").as_problem()


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (None, "lost"),
        (Done(), "done"),
        (Failed(PROBLEM), "failed"),
        (Canceled("asked for"), "canceled"),
        (HandBack("the worker stops"), "handed_back"),
        (Wait(timedelta(seconds=1), "not there yet"), "wait"),
        (Retry("again"), "retry"),
        (Broken(Retry("again"), PROBLEM), "retry"),
    ],
)
def test_every_verdict_has_its_word(verdict: Verdict | None, outcome: str) -> None:
    assert outcome_of(verdict, attempt=1, allowed=2) == outcome
    assert outcome_of(verdict, attempt=1, allowed=None) == outcome


def test_the_last_attempt_that_fails_is_exhausted() -> None:
    assert outcome_of(Retry("again"), attempt=2, allowed=2) == "exhausted"


async def test_work_is_told_in_one_line_with_the_request_that_it_came_from(platform: Platform) -> None:
    lines = list[dict[str, str]]()

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonFormatter().format(record)))

    log, handler = logging.getLogger("workers.tracing"), Keep()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        with log_context(request_id="req_told"):
            operation = await platform.operation()
        await platform.start({"version.inspect": answering(Done())})
        await wait_for(lambda: len(lines) > 0)
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)
    [line] = lines
    assert line["message"].startswith("version.inspect: done after ")
    assert line["message"].endswith(" ms, attempt 1")
    told = {"request_id": "req_told", "operation_id": operation.id, "resource_id": operation.target_id}
    assert told.items() <= line.items()


async def test_work_is_counted_by_lane_kind_and_outcome(platform: Platform) -> None:
    registry = CollectorRegistry()
    metrics = WorkMetrics(registry)
    await platform.operation()
    taken = await take(platform.database, "control", "me", 1_000_000)
    assert taken is not None
    with traced(Held(*taken, Lease(math.inf), Clock(now_micros())), metrics) as trace:
        trace.answered(Retry("the store is away"), allowed=1)
    with traced(Held(*taken, Lease(math.inf), Clock(now_micros())), metrics):
        pass  # somebody else has it now
    kind = {"lane": "control", "kind": "version.inspect"}
    for outcome in ("exhausted", "lost"):
        assert registry.get_sample_value("portside_work_outcomes_total", {**kind, "outcome": outcome}) == 1
    assert registry.get_sample_value("portside_claims_total", {"lane": "control"}) == 2
    assert registry.get_sample_value("portside_handler_seconds_count", kind) == 1
    assert registry.get_sample_value("portside_work_start_seconds_count", {"lane": "control"}) == 2


async def test_rescues_are_counted_by_lane(platform: Platform) -> None:
    registry = CollectorRegistry()
    metrics = WorkMetrics(registry)
    operation = await platform.operation()
    for rescues in (0, MAX_RESCUES):
        assert await take(platform.database, "control", "dead", LEASE_LOST) is not None
        await platform.set_operation(operation.id, rescues=rescues)
        while (await platform.now(operation)).status == "running":
            async with platform.deadline():
                await rescue_expired(platform.database, metrics)
    assert registry.get_sample_value("portside_rescues_total", {"lane": "control"}) == 2
    assert registry.get_sample_value("portside_rescues_given_up_total", {"lane": "control"}) == 1
