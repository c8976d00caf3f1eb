"""What a database that cannot do it now raises: `DatabaseBusy`, which everybody outlives."""

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.errors import DatabaseBusy
from tests.state.conftest import Backend

RAISE = "DO $$ BEGIN RAISE EXCEPTION 'told by a test' USING ERRCODE = '{}'; END $$"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        pytest.param("57P03", DatabaseBusy, id="starting up"),
        pytest.param("53300", DatabaseBusy, id="too many connections"),
        pytest.param("40P01", DatabaseBusy, id="deadlock"),
        pytest.param("22012", DBAPIError, id="division by zero"),
    ],
)
async def test_postgresql_that_cannot_do_it_now_is_busy_and_a_bug_is_a_bug(
    postgresql: str, tmp_path: Path, code: str, error: type[Exception]
) -> None:
    database = await Backend(tmp_path, server=postgresql).open(migrated=False)
    with pytest.raises(error):
        async with database.write() as session:
            await session.execute(text(RAISE.format(code)))
    await database.close()
