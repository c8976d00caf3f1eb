"""Whose turn it is among thousands of runs that wait: found by an index, tenant by tenant."""

import pytest
from sqlalchemy import select, text
from sqlalchemy.dialects import postgresql, sqlite

from core.clock import now_micros
from state.database import Database
from state.jobtables import RunProcess
from state.queries.runqueue import LISTED, oldest_of_each, queue_of_runs

ROWS, TENANTS = 2000, 50
NUMBERS = {
    "postgresql": f"generate_series(1, {ROWS}) AS numbers(n)",
    "sqlite": f"(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {ROWS}) SELECT n FROM c)",
}
RESOURCE = "id, tenant_id, created_at, tags, generation, edition, status, since, sequence, updated_at"
FILL = (
    f"INSERT INTO jobs ({RESOURCE}, name, kind, spec, env_names, last_number, schedule_paused) "
    "SELECT 'job_' || n, 't', n, '[]', 1, 1, 'active', 0, 1, 0, 'j' || n, 'batch', '{}', '[]', 1, false FROM numbers",
    f"INSERT INTO runs ({RESOURCE}, job_id, job_name, number, name, kind, trigger, retries, spec, env_names, "
    f"running_micros) SELECT 'run_' || ({ROWS} + n), 't' || (n % {TENANTS}), n, '[]', 1, 1, 'running', 0, 1, 0, "
    "'job_' || n, 'j', n, 'r', 'batch', 'manual', 0, '{}', '[]', 0 FROM numbers",
    "INSERT INTO run_processes (run_id, tenant_id, generation, wanted, spec, epoch) "
    f"SELECT 'run_' || ({ROWS} + n), 't' || (n % {TENANTS}), 1, true, '{{}}', 0 FROM numbers",
)
DIALECTS = {"postgresql": postgresql.dialect, "sqlite": sqlite.dialect}


@pytest.fixture
async def many(database: Database) -> Database:
    async with database.write() as session:
        for statement in FILL:
            await session.execute(text(statement.replace("FROM numbers", f"FROM {NUMBERS[database.dialect]}")))
        if database.dialect == "postgresql":  # it does so by itself after a while; SQLite is never asked to
            await session.execute(text("ANALYZE"))
    return database


async def test_of_each_tenant_the_oldest_come_first(many: Database) -> None:
    led = [f"run_{ROWS + number}" for number in (1, TENANTS + 1)]  # of t1
    async with many.read() as session:
        queue = await queue_of_runs(session, led, 2, now_micros(), 10**9)
    found = [(row.tenant_id, row.run_id) for row in queue.first]
    expected = [(f"t{n % TENANTS}", f"run_{ROWS + n}") for n in range(1, 2 * TENANTS + 1) if n not in (1, TENANTS + 1)]
    later = [("t1", f"run_{ROWS + n}") for n in (2 * TENANTS + 1, 3 * TENANTS + 1)]
    assert found == sorted([*expected, *later], key=lambda each: each[1])
    assert (queue.count, queue.next_at, list(queue.unled)) == (ROWS - 2, None, [])


async def test_the_oldest_are_found_by_their_index_however_many_wait(many: Database) -> None:
    query = oldest_of_each(many.dialect, 2, LISTED, RunProcess.wanted.is_(True), RunProcess.pid.is_(None))
    written = query.compile(dialect=DIALECTS[many.dialect](), compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN" if many.dialect == "postgresql" else "EXPLAIN QUERY PLAN"
    async with many.read() as session:
        plan = "\n".join(str(tuple(row)) for row in await session.execute(text(f"{explain} {written}")))
        assert len((await session.execute(select(query.subquery().c.run_id))).all()) == 2 * TENANTS
    assert plan.count("ix_run_processes_turn") >= 2, plan
    assert "ix_run_processes_wanted" not in plan, plan
