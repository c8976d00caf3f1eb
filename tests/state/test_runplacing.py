"""The wish for a run's process and its two fences, on both databases."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from core.clock import now_micros
from core.ids import new_id
from state.advance import advance, lock
from state.blobs import touch_blob
from state.database import Database
from state.history import begin
from state.jobtables import Job, Run, RunProcess
from state.ledger import Chunk, File, LedgerBroken, NotReproducible, bad_parts, commit_chunk, mark, output_parts, tally
from state.migrate import DEFAULT_TENANT
from state.placements import StaleGeneration
from state.queries.runqueue import Queue, led_runs, queue_of_runs
from state.running import begin_run
from state.runplacing import (
    ProcessGone,
    SeenRun,
    WantedRun,
    begin_process,
    end_process,
    hold_process,
    name_process,
    note_progress,
    see_run,
    unwant_run,
    want_run,
)
from state.runspecs import RunSpec
from state.settling import settle, unsettled
from tests.state.rows import ME, TEST

SPEC: dict[str, Any] = {
    "tenant_id": DEFAULT_TENANT,
    "attempt": 0,
    "job_id": "job_1",
    "job": "score",
    "number": 1,
    "name": "score-1",
    "kind": "batch",
    "cpu": 1.0,
    "memory_mb": None,
    "env_sealed": None,
    "batch": {"digest": "sha256:0"},
}
LOST = {"outcome": "lost", "deaths": 2, "retry_at": 0, "message": "it died"}


async def make_run(database: Database) -> Run:
    """A queued run of a new job."""
    now = now_micros()
    job = Job(
        id=new_id("job"),
        tenant_id=DEFAULT_TENANT,
        created_at=now,
        updated_at=now,
        tags=[],
        name=f"j{new_id('x')[-12:].lower()}",
        kind="batch",
        spec={"model": "iris", "input": {}},
        env_names=[],
    )
    async with database.write() as session:
        await begin(session, job, TEST)
        run, _ = await begin_run(session, ME, job, "manual")
    return run


def spec(run: Run, generation: int = 1, attempt: int = 0) -> RunSpec:
    return RunSpec(**{**SPEC, "run_id": run.id, "generation": generation, "attempt": attempt})


async def want(database: Database, run: Run, generation: int = 1, attempt: int = 0) -> None:
    async with database.write() as session:
        await want_run(session, spec(run, generation, attempt))


async def row_of(database: Database, run: Run) -> WantedRun:
    async with database.read() as session:
        [found] = await led_runs(session, [run.id])
    return found


async def queue_at(database: Database, now: int, led: Sequence[str] = (), per_tenant: int = 1) -> Queue:
    async with database.read() as session:
        return await queue_of_runs(session, led, per_tenant, now, 60_000_000)


async def waits(database: Database, run: Run) -> bool:
    return run.id in [row.run_id for row in (await queue_at(database, now_micros())).first]


async def started(database: Database, run: Run) -> int:
    """Its process, as the node makes one; answers the epoch."""
    row = await row_of(database, run)
    async with database.write() as session:
        assert await begin_process(session, row, "/log") == spec(run, row.generation)
    async with database.write() as session:
        await name_process(session, run.id, row.epoch + 1, 4711, "then", "boot")
    return row.epoch + 1


async def ended(database: Database, run: Run, epoch: int, ending: dict[str, Any] | None) -> None:
    async with database.write() as session:
        await end_process(session, run.id, epoch, ending)


async def began(database: Database, run: Run, s_ago: int, seen_s_ago: int = 0) -> None:
    """Its process is so old."""
    now = now_micros()
    async with database.write() as session:
        row = await session.get_one(RunProcess, run.id)
        row.began_at, row.seen_at = now - s_ago * 1_000_000, now - seen_s_ago * 1_000_000


async def seen(database: Database, run: Run) -> SeenRun:
    async with database.read() as session:
        return await see_run(session, run.id)


def chunk(ordinal: int, digest: str = "a", bad: str | None = None) -> Chunk:
    place = {"chunk": ordinal + 1, "row": 10 * ordinal + 10, "file": 0, "offset": 100 * ordinal, "line": 1}
    bad_rows = None if bad is None else File(f"sha256:{bad * 64}", 7)
    counts = {"first_row": 10 * ordinal, "rows_in": 10, "rows_out": 9 if bad else 10, "bad": 1 if bad else 0}
    return Chunk(ordinal, **counts, output=File(f"sha256:{digest * 64}", 5), bad_rows=bad_rows, next=place)


async def commit(database: Database, run: Run, epoch: int, made: Chunk) -> bool:
    async with database.write() as session:
        for file in made.files:
            await touch_blob(session, file.digest, file.size_bytes)
        return await commit_chunk(session, run.id, epoch, made)


async def test_a_start_is_given_once(database: Database) -> None:
    run = await make_run(database)
    await want(database, run)
    row = await row_of(database, run)
    assert await waits(database, run)
    async with database.write() as session:
        assert await begin_process(session, row, "/log") is not None
    async with database.write() as session:
        assert await begin_process(session, row, "/log") is None
    with pytest.raises(ProcessGone):
        async with database.write() as session:
            await name_process(session, run.id, row.epoch, 4711, "then", "boot")


async def test_nothing_is_started_that_is_not_wanted_any_more(database: Database) -> None:
    run = await make_run(database)
    await want(database, run)
    row = await row_of(database, run)
    async with database.write() as session:
        await unwant_run(session, run.id, 2)
    async with database.write() as session:
        assert await begin_process(session, row, "/log") is None


async def test_a_process_that_is_no_longer_wanted_when_it_is_there_gets_no_name(database: Database) -> None:
    run = await make_run(database)
    await want(database, run)
    row = await row_of(database, run)
    async with database.write() as session:
        await begin_process(session, row, "/log")
    async with database.write() as session:
        await unwant_run(session, run.id, 2)
    with pytest.raises(ProcessGone):
        async with database.write() as session:
            await name_process(session, run.id, row.epoch + 1, 4711, "then", "boot")


async def test_an_older_wish_is_refused_also_where_nothing_was_wanted(database: Database) -> None:
    run = await make_run(database)
    async with database.write() as session:
        await unwant_run(session, run.id, 3)
    with pytest.raises(StaleGeneration):
        await want(database, run, generation=2)
    with pytest.raises(StaleGeneration):
        async with database.write() as session:
            await unwant_run(session, run.id, 2)
    await want(database, run, generation=4)
    assert await waits(database, run)


async def test_of_each_tenant_only_the_oldest_runs_are_read_that_may_begin_now(database: Database) -> None:
    runs = sorted([await make_run(database) for _ in range(6)], key=lambda run: run.id)
    for run in runs:
        await want(database, run)
    resting, theirs, working, unled = runs[0], runs[2], runs[4], runs[5]
    now, minute = now_micros(), 60_000_000
    await started(database, unled)
    async with database.write() as session:
        rows = {run.id: await session.get_one(RunProcess, run.id) for run in runs}
        rows[theirs.id].tenant_id = "ten_other"
        rows[resting.id].ending = {"outcome": "lost", "retry_at": now + minute // 2}
        rows[runs[3].id].ending = {"outcome": "lost", "retry_at": now - 1}
    for per_tenant, expected in ((1, [1, 2]), (2, [1, 2, 3]), (0, [])):
        queue = await queue_at(database, now, [working.id], per_tenant)
        assert [row.run_id for row in queue.first] == [runs[at].id for at in expected]
    assert (queue.count, queue.next_at) == (4, now + minute // 2)
    assert [row.run_id for row in queue.unled] == [unled.id]
    rested = await queue_at(database, now + minute // 2, [working.id, unled.id])
    assert ([row.run_id for row in rested.first], rested.next_at) == ([resting.id, theirs.id], None)
    assert rested.unled == []
    set_back = await queue_at(database, now - 2 * minute, per_tenant=9)
    assert (resting.id in [row.run_id for row in set_back.first], set_back.next_at) == (True, None)


async def test_a_verdict_counts_for_its_generation_and_attempt(database: Database) -> None:
    run = await make_run(database)
    await want(database, run)
    await ended(database, run, await started(database, run), {"outcome": "finished"})
    await want(database, run)
    assert not await waits(database, run)
    await want(database, run, attempt=1)
    assert await waits(database, run)
    async with database.write() as session:
        await end_process(session, run.id, 1, {"outcome": "finished"})
    await want(database, run, generation=2, attempt=1)
    async with database.read() as session:
        assert (await see_run(session, run.id)).ending is None


async def test_who_was_asked_to_end_leaves_the_count_of_deaths_as_it_was(database: Database) -> None:
    run = await make_run(database)
    await want(database, run)
    await ended(database, run, await started(database, run), LOST)
    await ended(database, run, await started(database, run), None)
    assert (await row_of(database, run)).ending == LOST
    async with database.read() as session:
        seen = await see_run(session, run.id)
    assert (seen.said, seen.ending) == ("it died", None)


async def test_an_older_process_may_write_nothing(database: Database) -> None:
    run = await make_run(database)
    await want(database, run)
    first = await started(database, run)
    await ended(database, run, first, None)
    second = await started(database, run)
    for work in (
        lambda session: end_process(session, run.id, first, None),
        lambda session: note_progress(session, run.id, first, {"rows": 1}),
        lambda session: hold_process(session, run.id, first),
        lambda session: commit_chunk(session, run.id, first, chunk(0)),
    ):
        with pytest.raises(ProcessGone):
            async with database.write() as session:
                await work(session)
    assert await commit(database, run, second, chunk(0))


async def test_a_process_that_has_ended_may_write_nothing(database: Database) -> None:
    run = await make_run(database)
    await want(database, run)
    epoch = await started(database, run)
    await ended(database, run, epoch, None)
    with pytest.raises(ProcessGone):
        await commit(database, run, epoch, chunk(0))


async def test_the_ledger_takes_chunks_in_their_order_and_each_once(database: Database) -> None:
    run = await make_run(database)
    await want(database, run)
    epoch = await started(database, run)
    assert await commit(database, run, epoch, chunk(0, "a", bad="b"))
    assert not await commit(database, run, epoch, chunk(0, "a", bad="b"))
    with pytest.raises(LedgerBroken):
        await commit(database, run, epoch, chunk(2))
    second = chunk(1, "c")
    for wrong in (
        replace(second, first_row=11),
        replace(second, first_row=9),
        replace(second, rows_out=9),
        replace(second, rows_in=11),
        replace(second, bad=1),
    ):
        with pytest.raises(LedgerBroken):  # a row twice, or not at all
            await commit(database, run, epoch, wrong)
    assert await commit(database, run, epoch, second)
    with pytest.raises(NotReproducible):
        await commit(database, run, epoch, chunk(1, "d"))
    async with database.read() as session:
        found = await mark(session, run.id)
        outputs, bad = await output_parts(session, run.id), await bad_parts(session, run.id)
    assert (found.tally.chunks, found.tally.rows_in, found.tally.rows_out, found.tally.bad) == (2, 20, 19, 1)
    assert found.tally.size_bytes == 17
    assert found.position == chunk(1).next
    assert [(part.digest[7], part.rows) for part in outputs] == [("a", 9), ("c", 10)]
    assert [(part.digest[7], part.rows) for part in bad] == [("b", 1)]


async def test_a_run_has_worked_as_long_as_all_of_its_processes(database: Database) -> None:
    run = await make_run(database)
    await want(database, run)
    for least_s in (100, 200):
        epoch = await started(database, run)
        await began(database, run, 100)
        assert least_s <= (await seen(database, run)).worked_s < least_s + 50
        await ended(database, run, epoch, None)
        assert least_s <= (await seen(database, run)).worked_s < least_s + 50
    epoch = await started(database, run)
    await began(database, run, 3600, seen_s_ago=3500)
    async with database.write() as session:
        await end_process(session, run.id, epoch, None, is_found_dead=True)  # the platform was off since
    assert 300 <= (await seen(database, run)).worked_s < 350


async def test_what_a_canceled_run_left_is_taken_back_and_its_ledger_closed(database: Database) -> None:
    run = await make_run(database)
    await want(database, run)
    epoch = await started(database, run)
    await commit(database, run, epoch, chunk(0))
    async with database.write() as session:
        row = await lock(session, Run, run.id)
        row.started_at = row.resumed_at = now_micros()
        await session.flush()
        await advance(session, row, "fail", TEST)
    assert await look(database) == [run.id]
    assert not (await row_of(database, run)).wanted  # and its process is still there
    assert await look(database) == []
    await ended(database, run, epoch, None)
    assert await look(database) == [run.id]
    async with database.read() as session:
        assert await session.get(RunProcess, run.id) is None
        assert (await tally(session, run.id)).chunks == 0
        found = await session.get(Run, run.id)
    assert found is not None
    assert found.completed_at is not None
    assert found.resumed_at is None
    assert found.summary is not None
    assert found.summary["rows_in"] == 10
    assert await look(database) == []


async def look(database: Database) -> list[str]:
    """One look of the watcher; what it found."""
    async with database.read() as session:
        found = list(await unsettled(session))
    for run_id in found:
        async with database.write() as session:
            await settle(session, run_id)
    return found
