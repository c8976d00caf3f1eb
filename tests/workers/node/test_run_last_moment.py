"""A run between its output and its end: what it has published is named, and is not published again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from core.failpoints import arm
from state.advance import lock
from state.datasets import delete_dataset
from state.datatables import Dataset
from state.jobtables import Run
from tests.workers.node.runworld import FINAL, RunWorld, open_run_world
from tests.workers.node.world import until
from tests.workers.runrows import WHO, numbers


@pytest.fixture
def _published_and_no_more() -> Iterator[None]:
    """The worker fails when the datasets are there and the run has not ended, until it is disarmed."""
    arm("run_after_publish=raise@1+")
    yield
    arm(None)


async def published(runs: RunWorld, run: Run) -> dict[str, str]:
    """The ids of its datasets, once they are there, by their roles."""

    async def look() -> dict[str, str]:
        async with runs.database.read() as session:
            found = await session.execute(select(Dataset.role, Dataset.id).where(Dataset.run_id == run.id))
            return {str(role): id for role, id in found}

    made = await until(look)
    assert made is not None
    return made


@pytest.mark.usefixtures("_published_and_no_more")
async def test_a_run_that_is_stopped_after_its_output_was_published_names_it(data: Path) -> None:
    async with open_run_world(data) as runs:
        run = await runs.begin(numbers(300, bad=(7,)))
        made = await published(runs, run)
        await runs.ground.act(run, "stop")
        ended = await runs.until(run, "stopped")
        assert {"output": ended.output_id, "bad_rows": ended.bad_rows_id} == made


@pytest.mark.usefixtures("_published_and_no_more")
async def test_a_run_that_goes_on_after_its_output_was_replaced_by_another_leaves_the_others(data: Path) -> None:
    shared = {"name": "scores", "format": None, "compression": None, "replace": True}
    async with open_run_world(data) as runs:
        run = await runs.begin(numbers(300, bad=(7,)), output=shared)
        made = await published(runs, run)
        await runs.ground.act(run, "pause")
        await runs.until(run, "paused")
        arm(None)
        await runs.ground.dataset(numbers(100), name="fewer")
        other = await runs.ground.run(await runs.ground.job("other", input={"dataset": "fewer"}, output=shared))
        assert (await runs.until(other, *FINAL)).output_id == made["output"]
        theirs = await runs.ground.output(other)
        assert theirs is not None
        await runs.ground.act(run, "resume")
        assert (await runs.until(run, *FINAL)).status == "succeeded"
        assert await runs.ground.output(other) == theirs


@pytest.mark.usefixtures("_published_and_no_more")
async def test_an_output_that_was_deleted_before_its_run_had_ended_stays_deleted(data: Path) -> None:
    async with open_run_world(data) as runs:
        run = await runs.begin(numbers(300))
        made = await published(runs, run)
        await runs.ground.act(run, "pause")
        await runs.until(run, "paused")
        arm(None)
        async with runs.database.write() as session:
            await delete_dataset(session, WHO, await lock(session, Dataset, made["output"]))
        await runs.ground.act(run, "resume")
        ended = await runs.until(run, *FINAL)
        assert (ended.status, ended.output_id) == ("succeeded", made["output"])
        assert await runs.ground.output(run) is None
