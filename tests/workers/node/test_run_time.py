"""What counts of a run's time: that in which its processes work, and nothing else."""

from pathlib import Path

import pytest
from sqlalchemy import select

from core.clock import now_micros
from state.advance import lock
from state.jobtables import Run, RunProcess
from state.runplacing import WORKED
from state.tables import Operation
from tests.workers.node.runworld import FINAL, Hold, open_run_world
from tests.workers.node.world import until
from tests.workers.runrows import numbers

ROWS = 800  # eight chunks
HOUR = 3_600_000_000


async def test_a_run_that_waits_for_its_turn_has_all_of_its_time_left(data: Path) -> None:
    async with open_run_world(data, runs_at_once=1) as runs:
        first = await runs.begin(numbers(ROWS), variables={"PAUSE_MS": "60000"})
        await runs.running(first)
        second = await runs.ground.run(await runs.ground.job("patient", timeout_s=600))

        async def is_wanted() -> bool:
            return await runs.process(second) is not None

        await until(is_wanted)
        async with runs.database.write() as session:
            row = await lock(session, Run, second.id)
            row.started_at = row.resumed_at = now_micros() - HOUR
        await runs.ground.act(first, "stop")
        ended = await runs.until(second, *FINAL)
        assert (ended.status, ended.error) == ("succeeded", None)
        assert 0 < ended.running_micros < HOUR // 2
        assert ended.summary is not None
        rate = ended.summary["rows_in"] / (ended.running_micros / 1_000_000)
        assert ended.summary["rows_per_s"] == pytest.approx(rate, rel=0.01)


async def test_the_time_of_all_its_processes_counts(data: Path, tmp_path: Path) -> None:
    hold = Hold(tmp_path / "hold")
    async with open_run_world(data) as runs:
        run = await runs.begin(numbers(ROWS), variables=hold.at(2), timeout_s=600)
        await runs.chunks(run, least=2)
        await runs.ground.act(run, "pause")
        paused = await runs.until(run, "paused")
        assert paused.running_micros > 0
        async with runs.database.write() as session:
            row = await session.get_one(RunProcess, run.id)
            told = row.progress or {}
            assert told[WORKED] == paused.running_micros / 1_000_000
            row.progress = {**told, WORKED: 599.8}
        await runs.ground.act(run, "resume")
        ended = await runs.until(run, *FINAL)
        assert (ended.status, ended.reason) == ("failed", "run_timeout")
        assert ended.running_micros >= 600_000_000


async def test_a_clock_that_is_set_back_does_not_hold_up_another_attempt(data: Path, tmp_path: Path) -> None:
    async with open_run_world(data) as runs:
        switch = tmp_path / "dies"
        switch.touch()
        policy = {"count": 1, "backoff_s": 1}
        run = await runs.begin(numbers(100), variables={"DIES": str(switch)}, retries=policy)

        async def has_failed_once() -> bool:
            return (await runs.ground.now(run)).retries == 1

        await until(has_failed_once)
        switch.unlink()
        async with runs.database.write() as session:
            operation = (await session.scalars(select(Operation).where(Operation.target_id == run.id))).one()
            operation.checkpoint = {"retry_at": now_micros() + 86_400_000_000}
        assert (await runs.until(run, *FINAL)).status == "succeeded"
