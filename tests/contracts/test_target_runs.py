"""What every target promises about runs; a new one is one more line in TARGETS."""

import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.errors import NotFound
from state.advance import lock
from state.claims import Claim, ClaimLost
from state.jobtables import Run
from state.ledger import tally
from state.placements import StaleGeneration
from state.resolving import resolve
from state.runplacing import SeenRun
from state.runspecs import RunSpec, run_spec
from tests.workers.node.world import VAULT, make_database, open_world, until
from tests.workers.runrows import Ground, numbers
from workers.targets.base import Target

ROWS = 400  # four chunks
PATIENCE_S = 60


@dataclass(frozen=True)
class Place:
    """A target with something behind it that brings its wishes about, runs that it can be asked for, and their rows."""

    target: Target
    ground: Ground
    break_process: Callable[[str], Awaitable[None]]

    async def run(self, rows: int = ROWS, pause_ms: int = 0, mode: str = "") -> Run:
        """A run whose things are pinned, that nobody has applied."""
        await self.ground.version()
        await self.ground.dataset(numbers(rows))
        job = await self.ground.job(variables={"PAUSE_MS": str(pause_ms), "MODE": mode}, chunk_rows=100)
        run = await self.ground.run(job)
        async with self.ground.database.write() as session:
            held = await lock(session, Run, run.id)
            await resolve(session, held)
        return held

    async def seen(self, run: Run, holds: Callable[[SeenRun], bool]) -> SeenRun:
        """What is seen of the run once the condition holds."""

        async def look() -> SeenRun | None:
            found = await self.target.observe_run(run.id)
            return found if holds(found) else None

        found = await until(look, PATIENCE_S)
        assert found is not None
        return found

    async def chunks(self, run: Run) -> int:
        """How many chunks its ledger has."""
        async with self.ground.database.read() as session:
            return (await tally(session, run.id)).chunks

    async def chunks_are(self, run: Run, least: int) -> None:
        async def look() -> bool:
            return await self.chunks(run) >= least

        await until(look, PATIENCE_S)


@asynccontextmanager
async def on_a_node(folder: Path) -> AsyncIterator[Place]:
    """The node with stand-ins for the scorer."""
    await make_database(f"sqlite:///{folder / 'portside.db'}")
    async with open_world(folder) as world:

        async def kill(run_id: str) -> None:
            pid = (await world.target.observe_run(run_id)).pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)

        await world.node().start()
        yield Place(world.target, Ground(world.database, world.store, VAULT), kill)


TARGETS: dict[str, Callable[[Path], AbstractAsyncContextManager[Place]]] = {"node": on_a_node}


@pytest.fixture(params=sorted(TARGETS))
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with TARGETS[request.param](tmp_path) as place:
        yield place


def has_ended(seen: SeenRun) -> bool:
    return seen.ending is not None


def is_there(seen: SeenRun) -> bool:
    return seen.pid is not None


def is_gone(seen: SeenRun) -> bool:
    return seen.pid is None


def spec(run: Run, generation: int = 1, attempt: int = 0) -> RunSpec:
    run.retries = attempt
    return run_spec(run, generation)


async def test_what_is_applied_runs_to_a_verdict_and_is_in_the_ledger(place: Place) -> None:
    run = await place.run()
    await place.target.apply_run(spec(run))
    seen = await place.seen(run, has_ended)
    assert seen.ending == {"outcome": "finished"}
    assert seen.pid is None
    assert [seen.progress[name] for name in ("rows", "rows_total", "percent")] == [ROWS, ROWS, 100]
    assert await place.chunks(run) == 4


async def test_applying_the_same_again_changes_nothing(place: Place) -> None:
    run = await place.run(pause_ms=50)
    await place.target.apply_run(spec(run))
    first = await place.seen(run, is_there)
    for _ in range(3):
        await place.target.apply_run(spec(run))
    assert (await place.target.observe_run(run.id)).pid in (first.pid, None)
    ended = await place.seen(run, has_ended)
    await place.target.apply_run(spec(run))
    assert (await place.target.observe_run(run.id)) == ended


async def test_a_verdict_stands_until_another_try_is_applied(place: Place) -> None:
    run = await place.run(mode="refuse")
    await place.target.apply_run(spec(run))
    seen = await place.seen(run, has_ended)
    assert seen.ending is not None
    assert seen.ending["problem"]["code"] == "model_refused"
    await place.target.apply_run(spec(run, attempt=1))
    assert (await place.target.observe_run(run.id)).ending is None
    assert (await place.seen(run, has_ended)).ending == seen.ending


async def test_an_older_generation_is_refused(place: Place) -> None:
    run = await place.run()
    await place.target.apply_run(spec(run, generation=3))
    with pytest.raises(StaleGeneration):
        await place.target.apply_run(spec(run, generation=2))
    with pytest.raises(StaleGeneration):
        await place.target.remove_run(run.id, 2)
    await place.seen(run, has_ended)


async def test_who_no_longer_holds_the_work_wants_nothing(place: Place) -> None:
    run = await place.run()
    nobody = Claim("run", "op_unknown", 1, 1, "nobody")
    with pytest.raises(ClaimLost):
        await place.target.apply_run(spec(run), nobody)
    with pytest.raises(ClaimLost):
        await place.target.remove_run(run.id, 1, nobody)
    assert not (await place.target.observe_run(run.id)).wanted


async def test_what_is_removed_is_gone_within_two_seconds_and_goes_on_from_its_ledger(place: Place) -> None:
    run = await place.run(rows=2000, pause_ms=20)
    await place.target.apply_run(spec(run))
    await place.chunks_are(run, least=2)
    began = time.monotonic()
    for _ in range(2):
        await place.target.remove_run(run.id, 2)
    await place.seen(run, is_gone)
    assert time.monotonic() - began < 20  # two seconds on a machine of one's own
    done = await place.chunks(run)
    assert 2 <= done < 20
    await place.target.apply_run(spec(run, generation=3))
    assert (await place.seen(run, has_ended)).ending == {"outcome": "finished"}
    assert await place.chunks(run) == 20


async def test_a_broken_process_is_replaced(place: Place) -> None:
    run = await place.run(rows=2000, pause_ms=20)
    await place.target.apply_run(spec(run))
    first = await place.seen(run, is_there)
    await place.break_process(run.id)
    await place.seen(run, lambda seen: seen.pid not in (None, first.pid))
    assert (await place.seen(run, has_ended)).ending == {"outcome": "finished"}
    assert await place.chunks(run) == 20


async def test_a_run_that_was_never_applied_can_be_removed_and_keeps_older_wishes_out(place: Place) -> None:
    run = await place.run()
    await place.target.remove_run(run.id, 2)
    with pytest.raises(StaleGeneration):
        await place.target.apply_run(spec(run, generation=1))
    await place.target.remove_run("run_unknown", 1)
    assert not (await place.target.observe_run("run_unknown")).wanted


async def test_the_log_of_a_run_can_be_read_and_of_none_is_not_found(place: Place) -> None:
    run = await place.run()
    await place.target.apply_run(spec(run))
    await place.seen(run, has_ended)
    text = b"".join([piece async for piece in place.target.logs(run.id, follow=False, tail_bytes=100_000)])
    assert b'"PORTSIDE_JOB": "score"' in text
    with pytest.raises(NotFound, match="run_unknown"):
        _ = [piece async for piece in place.target.logs("run_unknown", follow=False, tail_bytes=100)]
