"""A run that its owner ends while it is ending by itself: what it has published is named."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from core.failpoints import arm
from state.datatables import Dataset
from tests.workers.node.runworld import open_run_world
from tests.workers.node.world import until
from tests.workers.runrows import numbers


@pytest.fixture
def _published_and_no_more() -> Iterator[None]:
    """The worker fails when the datasets are there and the run has not ended."""
    arm("run_after_publish=raise")
    yield
    arm(None)


@pytest.mark.usefixtures("_published_and_no_more")
async def test_a_run_that_is_stopped_after_its_output_was_published_names_it(data: Path) -> None:
    async with open_run_world(data) as runs:
        run = await runs.begin(numbers(300, bad=(7,)))

        async def look() -> dict[str, str]:
            async with runs.database.read() as session:
                found = await session.execute(select(Dataset.role, Dataset.id).where(Dataset.run_id == run.id))
                return {str(role): id for role, id in found}

        made = await until(look)
        await runs.ground.act(run, "stop")
        ended = await runs.until(run, "stopped", "succeeded")
        assert {"output": ended.output_id, "bad_rows": ended.bad_rows_id} == made
