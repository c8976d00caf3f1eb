"""Every hot query uses its index: asked of the database itself, with rows enough that it would rather scan."""

import pytest
from sqlalchemy import text

from state.database import Database

ROWS = 3000
HOT = {
    "the best due operation": (
        "SELECT id FROM operations WHERE lane = 'control' AND status = 'queued' AND due_at <= 5 "
        "ORDER BY priority, due_at, id LIMIT 1",
        "ix_operations_due",
    ),
    "when a lane is due next": (
        "SELECT min(due_at) FROM operations WHERE lane = 'control' AND status = 'queued'",
        "ix_operations_due",
    ),
    "expired leases": (
        "SELECT id FROM operations WHERE lane = 'control' AND status = 'running' AND lease_until < 5 "
        "ORDER BY lease_until LIMIT 10",
        "ix_operations_lease",
    ),
    "the holder of a resource": (
        "SELECT id FROM operations WHERE target_id = 'mdl_7' AND status = 'running'",
        "uq_operations_holder",
    ),
    "a model by name": (
        "SELECT id FROM models WHERE tenant_id = 't' AND name = 'm7' AND status <> 'deleted'",
        "uq_models_name",
    ),
    "a page of models": (
        "SELECT id FROM models WHERE tenant_id = 't' AND created_at < 900 ORDER BY created_at DESC, id DESC LIMIT 50",
        "ix_models_list",
    ),
    "who uses a digest": ("SELECT id FROM versions WHERE digest = 'sha256:7'", "ix_versions_digest"),
}
RESOURCE = "id, tenant_id, created_at, tags, generation, edition, status, since, sequence, updated_at"
WORK = "lane, status, priority, due_at, lease_until, attempt, rescues, epoch, cancel_requested, since, sequence"
FILL = [
    f"INSERT INTO models ({RESOURCE}, name, last_number) "
    "SELECT 'mdl_' || n, 't', n, '[]', 1, 1, 'active', 0, 1, 0, 'm' || n, 1 FROM numbers",
    f"INSERT INTO versions ({RESOURCE}, model_id, number, digest, size_bytes, format) "
    "SELECT 'ver_' || n, 't', n, '[]', 1, 1, 'ready', 0, 1, 0, 'mdl_' || n, 1, 'sha256:' || n, 1, 'onnx' FROM numbers",
    "INSERT INTO operations (id, tenant_id, created_at, kind, target_type, target_id, target_name, generation, actor, "
    f"arguments, {WORK}) SELECT 'op_' || n, 't', n, 'k', 'model', 'mdl_' || n, 'm', 1, 'a', '{{}}', 'control', "
    "CASE n % 3 WHEN 0 THEN 'queued' WHEN 1 THEN 'running' ELSE 'succeeded' END, "
    "100, 1000 + n, 1000 + n, 0, 0, 0, false, 0, 1 FROM numbers",
]


@pytest.fixture
async def full(database: Database) -> Database:
    series = (
        f"generate_series(1, {ROWS}) AS numbers(n)"
        if database.dialect == "postgresql"
        else f"(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {ROWS}) SELECT n FROM c)"
    )
    async with database.write() as session:
        for statement in FILL:
            await session.execute(text(statement.replace("FROM numbers", f"FROM {series}")))
        await session.execute(text("ANALYZE"))
    return database


async def test_hot_queries_use_their_indexes(full: Database) -> None:
    explain = "EXPLAIN " if full.dialect == "postgresql" else "EXPLAIN QUERY PLAN "
    for what, (query, index) in HOT.items():
        async with full.read() as session:
            plan = "\n".join(str(tuple(row)) for row in await session.execute(text(explain + query)))
        assert index in plan, f"{what}: {plan}"
