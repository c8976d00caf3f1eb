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
from state.settling import stretch
from state.tables import Operation
from workers.handlers.runinput import fetch_input
from workers.outcomes import Canceled, Done, Failed, Outcome, Progress, Wait
from workers.resources import Held, Resources
from workers.runoutput import publish
from workers.scriptoutput import finish_script

# The watcher wakes us when its process changes; this is for a lost signal. Each look leaves two rows of history.
SOONEST_S, LATEST_S = 1.0, 15.0
LONGEST_BACKOFF_S = 3600.0
AWAY = timedelta(seconds=2)
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
    """The run took longer than its job allows."""

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
    return await _take_down(held, resources, {})


async def stop(held: Held, resources: Resources) -> Outcome:
    """Free its process for good."""
    return await _take_down(held, resources, {"completed_at": now_micros()})


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
    not_before = int((operation.checkpoint or {}).get("retry_at", 0))
    if not_before > now_micros():
        return Wait(timedelta(microseconds=not_before - now_micros()), f"attempt {run.retries + 1} waits for its time")
    if _left_s(run) <= 0:
        return await _end_late(held, resources, run)
    failpoint("before_effect")
    await resources.target.apply_run(run_spec(run, operation.generation), held.claim)
    failpoint("after_effect")
    seen = await resources.target.observe_run(run.id)
    if seen.ending is None:
        return _under_way(run, seen)
    if seen.ending["outcome"] == "finished":
        return await _finish(held, resources, run, seen)
    return await _fail(held, resources, run, seen.ending["problem"])


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


def _ran_s(run: Run) -> float:
    """How long it has been running, without its pauses."""
    return float(stretch(run).get("running_micros") or run.running_micros) / 1_000_000


def _left_s(run: Run) -> float:
    """How long it may still run."""
    limit_s = run.spec.get("timeout_s")
    return math.inf if limit_s is None else float(limit_s) - _ran_s(run)


async def _end_late(held: Held, resources: Resources, run: Run) -> Outcome:
    await resources.target.remove_run(run.id, _operation(held).generation, held.claim)
    if (await resources.target.observe_run(run.id)).pid is not None:
        return Wait(timedelta(seconds=SOONEST_S), "its time is over; its process is still ending")
    detail = f"the run was not done within {run.spec['timeout_s']:g} s; raise timeout_s, or give it less to do"
    return _failed(run, RunTimeout(detail).as_problem())


def _under_way(run: Run, seen: SeenRun) -> Outcome:
    words = _words(run, seen) if run.kind == "batch" else _script_words(seen)
    pause_s = min(LATEST_S, max(SOONEST_S, _ran_s(run) / 10), max(0.05, _left_s(run)))
    stage = ("scoring" if run.kind == "batch" else "running") if seen.pid is not None else "waiting"
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
    ended = {**stretch(run, now), "completed_at": now, "error": None, "summary": published.summary}
    made = {"output_id": published.output_id, "bad_rows_id": published.bad_rows_id}
    return Done(result={"output": published.output, **published.summary}, target={**ended, **made})


async def _fail(held: Held, resources: Resources, run: Run, problem: Mapping[str, Any]) -> Outcome:
    policy: Mapping[str, Any] = run.spec.get("retries") or {}
    allowed = int(policy.get("count") or 0)
    if run.retries >= allowed or problem.get("code") in HOPELESS:
        await resources.target.remove_run(run.id, _operation(held).generation, held.claim)
        return _failed(run, problem)
    backoff_s = min(LONGEST_BACKOFF_S, float(policy.get("backoff_s") or 0.0) * 2**run.retries)
    after = timedelta(seconds=backoff_s)
    async with resources.database.write() as session:
        work = await lock_held(session, held.claim, held.row)
        assert isinstance(work.target, Run)
        assert isinstance(work.row, Operation)
        work.target.retries, work.target.error = run.retries + 1, dict(problem)
        work.row.checkpoint = {"retry_at": now_micros() + to_micros(after)}
        session.tell("changed", "run", run.id)
    said = f"attempt {run.retries + 1} of {allowed + 1} failed: {problem.get('detail')}"
    return Wait(after, said[:500])


def _failed(run: Run, problem: Mapping[str, Any]) -> Failed:
    now = now_micros()
    return Failed(dict(problem), target={**stretch(run, now), "completed_at": now, "error": dict(problem)})


async def _take_down(held: Held, resources: Resources, ended: Mapping[str, Any]) -> Outcome:
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
    return Done(result={}, target={**stretch(run), **ended})


async def _run(session: Session, run_id: str) -> Run:
    run = await session.get(Run, run_id)
    assert run is not None, "a run's row outlives its operations"
    return run


def _operation(held: Held) -> Operation:
    assert isinstance(held.row, Operation)
    return held.row
