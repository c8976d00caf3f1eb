"""Runs: one operation from the first claim to the end, which wants, looks and gives its slot back (ADR 0030, 0031)."""

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from core.clock import now_micros, to_micros
from core.errors import PlatformError, Rejected, Unavailable
from core.failpoints import failpoint
from state.claims import ClaimLost
from state.database import Session
from state.endings import lock_held
from state.jobtables import Run
from state.placements import StaleGeneration
from state.resolving import InputElsewhere, InputUnderWay, resolve
from state.runplacing import SeenRun
from state.runspecs import run_spec
from state.scripting import pin_script
from state.settling import stretch, summed_up
from state.tables import Operation
from workers.handlers.runinput import fetch_input
from workers.outcomes import Canceled, Done, Failed, Outcome, Progress, Wait
from workers.resources import Held, Resources
from workers.runoutput import publish
from workers.scriptoutput import finish_script

# The watcher wakes us when its process changes; this is for a lost signal. Each look leaves two rows of history.
SOONEST_S, LATEST_S, LATEST_IN_LINE_S = 1.0, 15.0, 60.0
LONGEST_BACKOFF_S = 86_400.0  # as long as a job may ask for
AWAY = timedelta(seconds=2)
CLOCKS_DIFFER = timedelta(seconds=30)  # of two workers of different releases, at most
# Another try with the same model, data and plan ends the same.
HOPELESS: Final = (
    "dataset_invalid",
    "mapping_invalid",
    "too_many_bad_rows",
    "model_refused",
    "plan_invalid",
    "not_reproducible",
    "ledger_broken",
    "source_changed",
    "script_refused",
    "script_disk_full",
    "scripts_not_isolated",
)


class RunTimeout(Rejected):
    """The processes of the run worked longer than its job allows."""

    code, title = "run_timeout", "The run took too long"


async def execute(held: Held, resources: Resources) -> Outcome:
    """Begin a run, or go on with it, and see to it until it has ended."""
    try:
        return await _see_to(held, resources)
    except StaleGeneration as error:
        return Canceled(error.message)
    except InputUnderWay as error:
        return Wait(timedelta(seconds=LATEST_S), error.message)  # the watcher wakes us when it is there
    except Unavailable as error:
        # Not a failed attempt: a run of a week would have used all of them by its end.
        return Wait(AWAY, error.message)


async def pause(held: Held, resources: Resources) -> Outcome:
    """Free its process; the ledger has what is done."""
    return await _take_down(held, resources)


async def stop(held: Held, resources: Resources) -> Outcome:
    """Free its process for good."""
    return await _take_down(held, resources, is_for_good=True)


async def _see_to(held: Held, resources: Resources) -> Outcome:
    operation = _operation(held)
    async with resources.database.read() as session:
        run = await _run(session, operation.target_id)
    if run.resolved is None or run.resumed_at is None:
        try:
            run = await _begin(held, resources)
        except InputElsewhere as where:
            return await fetch_input(held, resources, where)
        except (Unavailable, ClaimLost):
            raise
        except PlatformError as error:
            return Failed(error.as_problem(), target={"completed_at": now_micros(), "error": error.as_problem()})
    if (pause := _pause_left(held, run, operation)) > timedelta(0):
        return Wait(pause, f"attempt {run.retries + 1} waits for its time")
    seen = await resources.target.observe_run(run.id)
    if seen.ending is None and _left_s(run, seen) <= 0:
        return await _end_late(held, resources, run)
    failpoint("before_effect")
    await resources.target.apply_run(run_spec(run, operation.generation), held.claim)
    failpoint("after_effect")
    seen = await resources.target.observe_run(run.id)
    if seen.ending is None:
        return _under_way(run, seen)
    if seen.ending["outcome"] == "finished":
        return await _finish(held, resources, run, seen)
    return await _fail(held, resources, run, seen, seen.ending["problem"])


async def _begin(held: Held, resources: Resources) -> Run:
    """Pin what the run reads, and let its time begin. Raises what `resolve` raises, `ClaimLost`."""
    failpoint("run_before_pin")
    async with resources.database.write() as session:
        work = await lock_held(session, held.claim, held.row)
        run = work.target
        assert isinstance(run, Run)
        await (pin_script if run.kind == "script" else resolve)(session, run)
        now = now_micros()
        run.started_at, run.resumed_at = run.started_at or now, run.resumed_at or now
        run.edition += 1
        session.tell("changed", "run", run.id)
    return run


def _pause_left(held: Held, run: Run, operation: Operation) -> timedelta:
    """How long until the next attempt. Much more than the pause itself is a clock that was set back: nothing."""
    left = timedelta(microseconds=int((operation.checkpoint or {}).get("retry_at", 0)) - held.clock.now)
    return left if left <= _backoff(run, run.retries - 1) + CLOCKS_DIFFER else timedelta(0)


def _backoff(run: Run, failed_before: int) -> timedelta:
    """The pause after an attempt failed, and so many before it: as the policy says, and twice as long each time."""
    first_s = float((run.spec.get("retries") or {}).get("backoff_s") or 0.0)
    return timedelta(seconds=min(LONGEST_BACKOFF_S, first_s * 2**failed_before))


def _left_s(run: Run, seen: SeenRun) -> float:
    """How long it may still work. Not from when it was begun: behind a hundred others it would be too late."""
    limit_s = run.spec.get("timeout_s")
    return math.inf if limit_s is None else float(limit_s) - seen.worked_s


async def _end_late(held: Held, resources: Resources, run: Run) -> Outcome:
    await resources.target.remove_run(run.id, _operation(held).generation, held.claim)
    seen = await resources.target.observe_run(run.id)
    if seen.pid is not None:
        return Wait(timedelta(seconds=SOONEST_S), "its time is over; its process is still ending")
    worked = f"the run was not done after {run.spec['timeout_s']:g} s of work"
    return await _failed(resources, run, RunTimeout(f"{worked}; raise timeout_s, or give it less to do").as_problem())


def _under_way(run: Run, seen: SeenRun) -> Outcome:
    words = _words(run, seen) if run.kind == "batch" else _script_words(seen)
    since_s = max(0, now_micros() - (run.resumed_at or 0)) / 1_000_000
    is_at_work = seen.pid is not None
    pause_s = min(LATEST_S if is_at_work else LATEST_IN_LINE_S, max(SOONEST_S, since_s / 10))
    if is_at_work:
        pause_s = min(pause_s, max(0.05, _left_s(run, seen)))
    stage = ("scoring" if run.kind == "batch" else "running") if is_at_work else "waiting"
    return Wait(timedelta(seconds=pause_s), words, Progress(_percent(seen.progress), stage, words))


def _words(run: Run, seen: SeenRun) -> str:
    pinned: Mapping[str, Any] = (run.resolved or {}).get("input") or {}
    rows, total = int(seen.progress.get("rows") or 0), seen.progress.get("rows_total") or pinned.get("rows")
    done = f"{rows:,} of {total:,} rows" if total is not None else f"{rows:,} rows"
    if seen.pid is not None:
        return done
    if seen.said:
        return f"{done}; its process ended ({seen.said.splitlines()[0]}), another one will go on"[:500]
    return f"{done}; it waits for its process"


def _script_words(seen: SeenRun) -> str:
    percent, detail = seen.progress.get("percent"), seen.progress.get("detail")
    told = ": ".join(each for each in (f"{percent:g} %" if percent is not None else "", detail or "") if each)
    if seen.pid is not None:
        return told or "it runs"
    if seen.said:
        return f"its process was lost ({seen.said.splitlines()[0]}), another one is started"[:500]
    return "it waits for its process, or its environment is being made"


def _percent(progress: Mapping[str, Any]) -> int:
    """Of the whole; the last one is its end."""
    return min(99, int(progress.get("percent") or 0))


async def _finish(held: Held, resources: Resources, run: Run, seen: SeenRun) -> Outcome:
    failpoint("run_before_publish")
    if run.kind == "script":
        return await finish_script(held, resources, run, seen.progress)
    published = await publish(held, resources, run, seen.progress)
    failpoint("run_after_publish")
    now = now_micros()
    ended = {**stretch(run, seen.progress), "completed_at": now, "error": None, "summary": published.summary}
    made = {"output_id": published.output_id, "bad_rows_id": published.bad_rows_id}
    return Done(result={"output": published.output, **published.summary}, target={**ended, **made})


async def _fail(held: Held, resources: Resources, run: Run, seen: SeenRun, problem: Mapping[str, Any]) -> Outcome:
    allowed = int((run.spec.get("retries") or {}).get("count") or 0)
    if run.retries >= allowed or problem.get("code") in HOPELESS or _left_s(run, seen) <= 0:
        await resources.target.remove_run(run.id, _operation(held).generation, held.claim)
        return await _failed(resources, run, problem)
    after = _backoff(run, run.retries)
    async with resources.database.write() as session:
        work = await lock_held(session, held.claim, held.row)
        assert isinstance(work.target, Run)
        assert isinstance(work.row, Operation)
        work.target.retries, work.target.error = run.retries + 1, dict(problem)
        work.row.checkpoint = {"retry_at": held.clock.now + to_micros(after)}
        session.tell("changed", "run", run.id)
    said = f"attempt {run.retries + 1} of {allowed + 1} failed: {problem.get('detail')}"
    return Wait(after, said[:500])


async def _failed(resources: Resources, run: Run, problem: Mapping[str, Any]) -> Failed:
    ended = {**await _summed_up(resources, run), "completed_at": now_micros(), "error": dict(problem)}
    return Failed(dict(problem), target=ended)


async def _summed_up(resources: Resources, run: Run) -> dict[str, Any]:
    """What a run that has no process any more has done: who stops it sees that at once."""
    seen = await resources.target.observe_run(run.id)
    async with resources.database.read() as session:
        return {**stretch(run, seen.progress), "summary": await summed_up(session, run, seen.progress)}


async def _take_down(held: Held, resources: Resources, *, is_for_good: bool = False) -> Outcome:
    operation = _operation(held)
    try:
        failpoint("before_effect")
        await resources.target.remove_run(operation.target_id, operation.generation, held.claim)
        failpoint("after_effect")
    except StaleGeneration as error:
        return Canceled(error.message)
    seen = await resources.target.observe_run(operation.target_id)
    if seen.pid is not None:
        return Wait(timedelta(seconds=SOONEST_S), "its process is still ending", Progress(50, "stopping"))
    async with resources.database.read() as session:
        run = await _run(session, operation.target_id)
    if not is_for_good:
        return Done(result={}, target=stretch(run, seen.progress))
    return Done(result={}, target={**await _summed_up(resources, run), "completed_at": now_micros()})


async def _run(session: Session, run_id: str) -> Run:
    run = await session.get(Run, run_id)
    assert run is not None, "a run's row outlives its operations"
    return run


def _operation(held: Held) -> Operation:
    assert isinstance(held.row, Operation)
    return held.row
