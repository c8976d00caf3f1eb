"""The pipe of the executor, from a queued row to its end, on a real database."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from core.clock import now_micros
from core.errors import InvalidArtifact, StoreUnavailable
from state.claims import wake
from state.tables import Operation
from tests.workers.patience import WITHIN_S
from tests.workers.platform import Platform, answering, open_platform, wait_for
from workers.outcomes import Canceled, Done, Failed, Outcome, Progress, Retry, Wait
from workers.progress import checkpoint, progress
from workers.resources import Held, Resources

INSPECT = "version.inspect"


@dataclass
class Recorder:
    """A handler that answers a list of outcomes in turn (an exception is raised), the last one for ever."""

    answers: list[Outcome | Exception]
    held: list[Held] = field(default_factory=list)

    async def __call__(self, held: Held, resources: Resources) -> Outcome:
        self.held.append(held)
        answer = self.answers[min(len(self.held), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Blocking:
    """A handler that works until it is let go; tells how often it began and how often it was cancelled."""

    began: int = 0
    cancelled: int = 0
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, held: Held, resources: Resources) -> Outcome:
        self.began += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Done()


async def test_an_operation_runs_and_its_target_moves_with_it(platform: Platform) -> None:
    await platform.start({INSPECT: answering(Done({"ok": 1}, target={"signature": {"inputs": []}}))})
    operation = await platform.operation()
    ended = await platform.until(operation, "succeeded")
    assert (ended.result, ended.error, ended.lease_owner) == ({"ok": 1}, None, None)
    assert await platform.moves(operation) == ["create", "start", "succeed"]
    version = await platform.target_of(operation)
    assert (version.status, version.signature) == ("ready", {"inputs": []})
    assert await platform.moves(version) == ["create", "inspect", "accept"]


@pytest.mark.parametrize("apart_s", [-3600, 3600])
async def test_a_deadline_passes_by_the_database_clock_wherever_the_worker_runs(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, apart_s: int
) -> None:
    in_time = await platform.operation(deadline_s=WITHIN_S)
    late = await platform.operation(deadline_s=-1.0)
    of_this_host = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: of_this_host() + apart_s * 10**9)
    await platform.start({INSPECT: answering(Done({}, target={"signature": {"inputs": []}}))})
    await platform.until(in_time, "succeeded")
    assert ((await platform.until(late, "failed")).error or {})["code"] == "deadline_passed"


async def test_a_failure_gives_its_problem_to_the_operation_and_its_reason_to_the_target(platform: Platform) -> None:
    problem = InvalidArtifact("opset 99 is newer than this runtime reads").as_problem()
    await platform.start({INSPECT: answering(Failed(problem))})
    operation = await platform.operation()
    assert (await platform.until(operation, "failed")).error == problem
    version = await platform.target_of(operation)
    assert (version.status, version.reason) == ("invalid", "invalid_artifact")
    assert version.message == "opset 99 is newer than this runtime reads"


async def test_an_escaped_exception_is_tried_again_and_at_last_fails_without_leaking(platform: Platform) -> None:
    handler = Recorder([RuntimeError("secret=hunter2")])
    await platform.start({"version.test": handler})
    operation = await platform.operation("version.test")
    ended = await platform.until(operation, "failed")
    assert len(handler.held) == 2  # the kind's max_attempts
    assert ended.error is not None
    assert ended.error["code"] == "internal_error"
    assert operation.id in ended.error["detail"]
    assert "hunter2" not in str(ended.error) + str(ended.message)
    assert await platform.moves(operation) == ["create", "start", "requeue", "start", "fail"]


async def test_something_unavailable_is_tried_again(platform: Platform) -> None:
    handler = Recorder([StoreUnavailable("the store is away"), Done()])
    await platform.start({INSPECT: handler})
    operation = await platform.operation()
    assert (await platform.until(operation, "succeeded")).attempt == 2


async def test_attempts_that_are_used_up_end_with_the_last_problem(platform: Platform) -> None:
    await platform.start({"version.test": answering(Retry("no luck", after=timedelta(milliseconds=1)))})
    operation = await platform.operation("version.test")
    error = (await platform.until(operation, "failed")).error
    assert error is not None
    assert (error["code"], "no luck" in error["detail"]) == ("attempts_exhausted", True)


async def test_a_retry_is_due_when_its_handler_says(platform: Platform) -> None:
    before = now_micros()
    await platform.start({INSPECT: answering(Retry("later", after=timedelta(hours=1)))})
    operation = await platform.operation()
    tried = await platform.until_true(operation, lambda row: (row.status, row.attempt) == ("queued", 1))
    assert 3599 <= (tried.due_at - before) / 1_000_000 <= 3600 + WITHIN_S


async def test_waiting_uses_no_attempt_and_says_for_what(platform: Platform) -> None:
    await platform.start({INSPECT: answering(Wait(timedelta(hours=1), "the sun"))})
    operation = await platform.operation()
    waiting = await platform.until_true(operation, lambda row: row.waiting_for is not None)
    assert (waiting.status, waiting.attempt, waiting.waiting_for) == ("queued", 0, "the sun")


async def test_waiting_work_goes_on_when_it_is_woken(platform: Platform) -> None:
    handler = Recorder([Wait(timedelta(hours=1), "the sun"), Done()])
    await platform.start({INSPECT: handler})
    operation = await platform.operation()
    await platform.until_true(operation, lambda row: row.waiting_for is not None)
    async with platform.database.write() as session:
        await wake(session, [operation.target_id])
    assert (await platform.until(operation, "succeeded")).attempt == 1


async def test_a_change_that_comes_while_the_handler_looks_is_not_waited_for(platform: Platform) -> None:
    tries: list[str] = []

    async def handle(held: Held, resources: Resources) -> Outcome:
        tries.append(held.claim.id)
        if len(tries) == 2:
            return Done()
        async with resources.database.write() as session:
            assert isinstance(held.row, Operation)
            await wake(session, [held.row.target_id])
        return Wait(timedelta(hours=1), "what has just come")

    await platform.start({INSPECT: handle})
    await platform.until(await platform.operation(), "succeeded")


async def test_canceling_reaches_a_running_handler_at_once(platform: Platform) -> None:
    handler = Blocking()
    await platform.start({INSPECT: handler})
    operation = await platform.operation()
    await wait_for(lambda: handler.began == 1)
    await platform.set_operation(operation.id, cancel_requested=True)
    ended = await platform.until(operation, "canceled")
    assert handler.cancelled == 1
    assert ended.error is not None
    assert ended.error["code"] == "canceled"
    assert (await platform.target_of(operation)).status == "invalid"


async def test_work_that_was_canceled_while_it_was_queued_never_begins(platform: Platform) -> None:
    handler = Recorder([Done()])
    operation = await platform.operation()
    await platform.set_operation(operation.id, cancel_requested=True)
    await platform.start({INSPECT: handler})
    await platform.until(operation, "canceled")
    assert handler.held == []


async def test_a_handler_may_say_itself_that_it_was_canceled(platform: Platform) -> None:
    await platform.start({INSPECT: answering(Canceled("its owner asked for it"))})
    await platform.until(await platform.operation(), "canceled")


async def test_work_whose_deadline_passed_fails_without_beginning(platform: Platform) -> None:
    handler = Recorder([Done()])
    operation = await platform.operation(deadline_s=-1.0)
    await platform.start({INSPECT: handler})
    error = (await platform.until(operation, "failed")).error
    assert error is not None
    assert (error["code"], handler.held) == ("deadline_passed", [])


async def test_a_deadline_ends_a_running_handler(platform: Platform) -> None:
    handler = Blocking()
    await platform.start({INSPECT: handler})
    for deadline_s in (0.3, 3.0, 30.0):
        await platform.until(await platform.operation(deadline_s=deadline_s), "failed")
        if handler.began:  # else the deadline had passed before its turn came
            break
    assert (handler.began, handler.cancelled) == (1, 1)


async def test_whoever_lost_the_claim_writes_nothing(platform: Platform) -> None:
    handler = Blocking()
    host = await platform.start({INSPECT: handler})
    operation = await platform.operation()
    await wait_for(lambda: handler.began == 1)
    await platform.set_operation(operation.id, quietly=True, epoch=7, lease_owner="another")
    handler.go.set()
    await host.stop(60.0)
    row = await platform.now(operation)
    assert (row.status, row.epoch, row.result) == ("running", 7, None)
    assert (await platform.target_of(operation)).status == "inspecting"


async def test_a_lost_claim_ends_the_handler(platform: Platform) -> None:
    handler = Blocking()
    await platform.start({INSPECT: handler})
    operation = await platform.operation()
    await wait_for(lambda: handler.began == 1)
    await platform.set_operation(operation.id, epoch=7)
    await wait_for(lambda: handler.cancelled == 1)
    assert (await platform.now(operation)).status == "running"


async def test_a_long_handler_keeps_its_lease(data: Path) -> None:
    handler = Blocking()
    async with open_platform(data, is_migrated=True, lease_s=3.0) as platform:
        await platform.start({INSPECT: handler})
        operation = await platform.operation()
        await wait_for(lambda: handler.began == 1)
        first = (await platform.now(operation)).lease_until
        assert first is not None
        await platform.until_true(operation, lambda row: (row.lease_until or 0) > first)
        handler.go.set()
        assert (await platform.until(operation, "succeeded")).rescues == 0


async def test_progress_and_checkpoints_are_seen_while_the_handler_works(platform: Platform) -> None:
    go = asyncio.Event()

    async def handle(held: Held, resources: Resources) -> Outcome:
        await progress(held, resources, 40, "loading", "4 of 10")
        await checkpoint(held, resources, {"row": 4})
        await go.wait()
        return Done()

    await platform.start({INSPECT: handle})
    operation = await platform.operation()
    seen = await platform.until_true(operation, lambda row: row.checkpoint is not None)
    assert (seen.status, seen.checkpoint) == ("running", {"row": 4})
    assert seen.progress == {"percent": 40, "stage": "loading", "detail": "4 of 10"}
    go.set()
    await platform.until(operation, "succeeded")


async def test_work_that_waits_says_how_far_it_is(platform: Platform) -> None:
    async def handle(held: Held, resources: Resources) -> Outcome:
        return Wait(timedelta(hours=1), "1 of 2", Progress(45, "starting", "1 of 2"))

    await platform.start({INSPECT: handle})
    operation = await platform.operation()
    seen = await platform.until_true(operation, lambda row: row.waiting_for == "1 of 2")
    assert (seen.status, seen.progress) == ("queued", {"percent": 45, "stage": "starting", "detail": "1 of 2"})


async def test_an_outcome_that_cannot_be_written_ends_the_work_as_our_failure(platform: Platform) -> None:
    await platform.start({"version.test": answering(Done(row={"no_such_column": 1}))})
    error = (await platform.until(await platform.operation("version.test"), "failed")).error
    assert error is not None
    assert error["code"] == "internal_error"


async def test_a_stop_hands_running_work_back_without_using_an_attempt(platform: Platform) -> None:
    handler = Blocking()
    host = await platform.start({INSPECT: handler})
    operation = await platform.operation()
    await wait_for(lambda: handler.began == 1)
    await host.stop(0.05)
    row = await platform.now(operation)
    assert (row.status, row.attempt, row.rescues, handler.cancelled) == ("queued", 0, 0, 1)
    await platform.start({INSPECT: answering(Done())})
    await platform.until(operation, "succeeded")


async def test_a_stop_lets_work_finish_within_the_grace(platform: Platform) -> None:
    handler = Blocking()
    host = await platform.start({INSPECT: handler})
    operation = await platform.operation()
    await wait_for(lambda: handler.began == 1)
    asyncio.get_running_loop().call_later(0.1, handler.go.set)
    await host.stop(60.0)
    assert (await platform.now(operation)).status == "succeeded"
