"""What becomes of the datasets of a run before, where an output is replaced."""

from pathlib import Path

from state.queries.datasets import seek_dataset
from tests.workers.node.runworld import FINAL, RunWorld, open_run_world
from tests.workers.runrows import WHO, numbers

REPLACED = {"name": "scored", "format": None, "compression": None, "replace": True}


async def names(runs: RunWorld) -> list[str]:
    """Which of the two datasets are there."""
    async with runs.database.read() as session:
        return [name for name in ("scored", "scored-bad") if await seek_dataset(session, WHO.tenant_id, name)]


async def test_a_clean_run_that_replaces_an_output_leaves_no_bad_rows_of_the_run_before(data: Path) -> None:
    async with open_run_world(data) as runs:
        first = await runs.begin(numbers(200, bad=(7,)), output=REPLACED)
        assert (await runs.until(first, *FINAL)).status == "succeeded"
        assert await names(runs) == ["scored", "scored-bad"]
        await runs.ground.dataset(numbers(100), name="clean")
        job = await runs.ground.job("again", input={"dataset": "clean"}, output=REPLACED)
        second = await runs.until(await runs.ground.run(job), *FINAL)
        assert (second.status, second.bad_rows_id) == ("succeeded", None)
        assert await names(runs) == ["scored"]
