"""Every hot query uses its index: asked of the database itself, with rows enough that it would rather scan."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
from sqlalchemy import text

from state.compiled import Query
from state.database import Database, open_database
from state.direct import direct_write
from state.turns import best_due, best_of_tenant, next_shares, next_tenants
from tests.state.conftest import backend_of

ROWS = 3000
HOT = {
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
        "SELECT id FROM operations WHERE target_id = 'ver_7' AND status = 'running'",
        "uq_operations_holder",
    ),
    "services whose time is over": (
        "SELECT id FROM services WHERE expires_at IS NOT NULL AND status <> 'deleted' AND expires_at <= 5 "
        "AND status <> 'deleting'",
        "ix_services_expiry",
    ),
    "a service's samples of the last hour": (
        "SELECT replica_id, sum(requests) FROM samples WHERE service_id = 'svc_7' AND created_at > 2000 "
        "GROUP BY replica_id",
        "ix_samples_service",
    ),
    "services that follow something": (
        "SELECT id FROM services WHERE version_ref IS NOT NULL AND status <> 'deleted'",
        "ix_services_following",
    ),
    "a model by name": (
        "SELECT id FROM models WHERE tenant_id = 't' AND name = 'm7' AND status <> 'deleted'",
        "uq_models_name",
    ),
    "a page of models": (
        "SELECT id FROM models WHERE tenant_id = 't' AND created_at < 900 ORDER BY created_at DESC, id DESC LIMIT 50",
        "ix_models_list",
    ),
    "models in the order of their names": (
        "SELECT id FROM models WHERE tenant_id = 't' AND status <> 'deleted' ORDER BY name, id LIMIT 50",
        "uq_models_name",
    ),
    "models made since": (
        "SELECT id FROM models WHERE tenant_id = 't' AND status <> 'deleted' AND created_at > 2900 "
        "ORDER BY created_at DESC, id DESC LIMIT 50",
        "ix_models_list",
    ),
    "the models that changed last": (
        "SELECT id FROM models WHERE tenant_id = 't' AND status <> 'deleted' "
        "ORDER BY updated_at DESC, id DESC LIMIT 50",
        "ix_models_changed",
    ),
    "models in the order of their last change": (
        "SELECT id FROM models WHERE tenant_id = 't' AND status <> 'deleted' AND (updated_at, id) > (900, 'mdl_9') "
        "ORDER BY updated_at, id LIMIT 50",
        "ix_models_changed",
    ),
    "models whose names contain something": (
        "SELECT id FROM models WHERE tenant_id = 't' AND status <> 'deleted' AND lower(name) LIKE '%9%' "
        "ORDER BY created_at DESC, id DESC LIMIT 50",
        "ix_models_list",
    ),
    "a job by name": (
        "SELECT id FROM jobs WHERE tenant_id = 't' AND name = 'j7' AND status <> 'deleted'",
        "uq_jobs_name",
    ),
    "a page of jobs": (
        "SELECT id FROM jobs WHERE tenant_id = 't' AND status <> 'deleted' AND created_at < 900 "
        "ORDER BY created_at DESC, id DESC LIMIT 50",
        "ix_jobs_list",
    ),
    "the jobs of a model": ("SELECT name FROM jobs WHERE model_id = 'mdl_7' AND status <> 'deleted'", "ix_jobs_model"),
    "the jobs of a script": (
        "SELECT 1 FROM jobs WHERE script_digest = 'sha256:7' AND status <> 'deleted'",
        "ix_jobs_script",
    ),
    "the jobs that follow one": (
        "SELECT name FROM jobs WHERE after_id = 'job_7' AND status <> 'deleted'",
        "ix_jobs_after",
    ),
    "a page of all runs": (
        "SELECT id FROM runs WHERE tenant_id = 't' AND deleted_at IS NULL AND created_at < 900 "
        "ORDER BY created_at DESC, id DESC LIMIT 50",
        "ix_runs_list",
    ),
    "a page of a job's runs": (
        "SELECT id FROM runs WHERE job_id = 'job_7' AND deleted_at IS NULL ORDER BY created_at DESC, id DESC LIMIT 50",
        "ix_runs_job",
    ),
    "the live runs of a job": (
        "SELECT id FROM runs WHERE job_id = 'job_7' AND status NOT IN ('succeeded', 'failed', 'stopped')",
        "ix_runs_live",
    ),
    "the live runs of a version": (
        "SELECT number FROM runs WHERE version_id = 'ver_7' AND status NOT IN ('succeeded', 'failed', 'stopped')",
        "ix_runs_version",
    ),
    "successes that nobody followed": (
        "SELECT id FROM runs WHERE status = 'succeeded' AND followed_at IS NULL ORDER BY completed_at LIMIT 50",
        "ix_runs_unfollowed",
    ),
    "runs that were deleted": (
        "SELECT id FROM runs WHERE deleted_at IS NOT NULL ORDER BY deleted_at LIMIT 50",
        "ix_runs_gone",
    ),
    "a dataset by name": (
        "SELECT id FROM datasets WHERE tenant_id = 't' AND name = 'd7' AND status <> 'deleted'",
        "uq_datasets_name",
    ),
    "a page of datasets": (
        "SELECT id FROM datasets WHERE tenant_id = 't' AND created_at < 900 ORDER BY created_at DESC, id DESC LIMIT 50",
        "ix_datasets_list",
    ),
    "what a run wrote": (
        "SELECT id FROM datasets WHERE run_id = 'run_7' AND role = 'output' AND status <> 'deleted'",
        "ix_datasets_run",
    ),
    "files of a dataset after a path": (
        "SELECT path FROM dataset_files WHERE dataset_id = 'dts_7' AND path > 'p' ORDER BY path LIMIT 50",
        "dataset_files_",  # its primary key
    ),
    "parts of former generations": (
        "SELECT dataset_id FROM dataset_parts WHERE ordinal < 0",
        "ix_dataset_parts_former",
    ),
    "uploads that nobody goes on with": (
        "SELECT id FROM uploads WHERE touched_at < 5 ORDER BY touched_at LIMIT 500",
        "ix_uploads_age",
    ),
    "a page of uploads": (
        "SELECT id FROM uploads WHERE tenant_id = 't' AND created_at < 900 ORDER BY created_at DESC, id DESC LIMIT 50",
        "ix_uploads_list",
    ),
    **{
        f"who of {table} uses a digest": (f"SELECT digest FROM {table} WHERE digest = 'sha256:7'", f"ix_{table}_digest")
        for table in ("datasets", "dataset_parts", "dataset_files", "upload_parts")
    },
    "who uses a digest": ("SELECT id FROM versions WHERE digest = 'sha256:7'", "ix_versions_digest"),
}
# What a claim asks, lane by lane: the query itself, its parameters and its index.
CLAIMS: Mapping[str, tuple[Callable[[str, str], Query], str, Mapping[str, object], str]] = {
    "the best due operations": (best_due, "control", {"most": 4}, "ix_operations_next"),
    "the best due operations of a tenant": (
        best_of_tenant,
        "control",
        {"tenant": "t3", "most": 4},
        "ix_operations_share",
    ),
    "tenants with due operations": (next_tenants, "control", {"after": "", "most": 8}, "ix_operations_share"),
    "the best due predictions": (best_due, "predict", {"most": 4}, "ix_predictions_next"),
    "tenants with due predictions": (next_tenants, "predict", {"after": "", "most": 8}, "ix_predictions_share"),
    "services with due predictions": (next_shares, "predict", {"tenant": "t", "after": ""}, "ix_predictions_share"),
    "the best due deliveries": (best_due, "deliver", {"most": 4}, "ix_deliveries_next"),
    "receivers with due deliveries": (next_shares, "deliver", {"tenant": "t", "after": ""}, "ix_deliveries_share"),
}
RESOURCE = "id, tenant_id, created_at, tags, generation, edition, status, since, sequence, updated_at"
WORK = "lane, status, priority, due_at, lease_until, attempt, rescues, epoch, cancel_requested, since, sequence"
COUNTED = "100, 1000 + n, 1000 + n, 0, 0, 0, false, 0, 1 FROM numbers"


def _status(waiting: str, working: str, done: str) -> str:
    return f"CASE n % 3 WHEN 0 THEN '{waiting}' WHEN 1 THEN '{working}' ELSE '{done}' END"


FILL = [
    f"INSERT INTO models ({RESOURCE}, name, last_number) "
    "SELECT 'mdl_' || n, 't', n, '[]', 1, 1, 'active', 0, 1, n, 'm' || n, 1 FROM numbers",
    f"INSERT INTO versions ({RESOURCE}, model_id, number, digest, size_bytes, format) "
    "SELECT 'ver_' || n, 't', n, '[]', 1, 1, 'ready', 0, 1, 0, 'mdl_' || n, 1, 'sha256:' || n, 1, 'onnx' FROM numbers",
    f"INSERT INTO services ({RESOURCE}, name, replicas, expires_at) "
    "SELECT 'svc_' || n, 't', n, '[]', 1, 1, 'running', 0, 1, 0, 's' || n, 1, n FROM numbers",
    f"INSERT INTO datasets ({RESOURCE}, name, kind, is_reference, hints, rows_are_estimated, digest, run_id, role) "
    "SELECT 'dts_' || n, 't', n, '[]', 1, 1, 'ready', 0, 1, 0, 'd' || n, 'table', false, '{}', false, 'sha256:' || n, "
    "'run_' || n, 'output' FROM numbers",
    "INSERT INTO dataset_parts (dataset_id, ordinal, digest, size_bytes) "
    "SELECT 'dts_' || n, 0, 'sha256:' || n, 1 FROM numbers",
    "INSERT INTO dataset_files (dataset_id, path, digest, size_bytes, content_type, created_at) "
    "SELECT 'dts_' || n, 'q' || n, 'sha256:' || n, 1, 'a/b', 1 FROM numbers",
    "INSERT INTO uploads (id, tenant_id, created_at, touched_at) SELECT 'upl_' || n, 't', n, n FROM numbers",
    "INSERT INTO upload_parts (upload_id, number, digest, size_bytes) "
    "SELECT 'upl_' || n, 1, 'sha256:' || n, 1 FROM numbers",
    "INSERT INTO samples (id, tenant_id, created_at, service_id, replica_id, requests, errors, refused) "
    "SELECT 'smp_' || n, 't', n, 'svc_' || (n % 90), 'rep_' || n, 1, 0, 0 FROM numbers",
    f"INSERT INTO jobs ({RESOURCE}, name, kind, model_id, spec, env_names, last_number, after_id, schedule_paused, "
    "script_digest) "
    "SELECT 'job_' || n, 't', n, '[]', 1, 1, 'active', 0, 1, 0, 'j' || n, 'batch', 'mdl_' || n, '{}', '[]', 1, "
    "'job_' || (n - 1), false, 'sha256:' || n FROM numbers",
    f"INSERT INTO runs ({RESOURCE}, job_id, job_name, number, name, kind, trigger, retries, spec, env_names, "
    "running_micros, completed_at, followed_at, deleted_at, version_id) "
    f"SELECT 'run_' || n, 't', n, '[]', 1, 1, {_status('queued', 'running', 'succeeded')}, 0, 1, 0, "
    "'job_' || (1 + n % 90), 'j', n, 'r', 'batch', 'manual', 0, '{}', '[]', 0, n, "
    "CASE n % 50 WHEN 0 THEN NULL ELSE 1 END, CASE n % 50 WHEN 0 THEN 1 END, 'ver_' || n FROM numbers",
    "INSERT INTO operations (id, tenant_id, created_at, kind, target_type, target_id, target_name, generation, actor, "
    f"arguments, {WORK}) SELECT 'op_' || n, 't' || (n % 7), n, 'version.test', 'version', 'ver_' || n, '1', 1, 'a', "
    f"'{{}}', 'control', {_status('queued', 'running', 'succeeded')}, {COUNTED}",
    "INSERT INTO predictions (id, tenant_id, created_at, service_id, service_name, model_name, version, base_url, "
    f"{WORK}) SELECT 'prd_' || n, 't', n, 'svc_' || (n % 9), 's', 'm', '1', 'http://h', "
    f"'predict', {_status('starting', 'processing', 'succeeded')}, {COUNTED}",
    "INSERT INTO deliveries (id, tenant_id, created_at, receiver, url, event_id, event_type, body, attempts, "
    f"{WORK}) SELECT 'dlv_' || n, 't', n, 'whk_' || (n % 9), 'http://h', 'e', 't', 'b', '[]', "
    f"'deliver', {_status('pending', 'sending', 'delivered')}, {COUNTED}",
]


async def fill(database: Database) -> None:
    series = (
        f"generate_series(1, {ROWS}) AS numbers(n)"
        if database.dialect == "postgresql"
        else f"(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {ROWS}) SELECT n FROM c)"
    )
    async with database.write() as session:
        for statement in FILL:
            await session.execute(text(statement.replace("FROM numbers", f"FROM {series}")))
        if database.dialect == "postgresql":  # it does so by itself after a while; SQLite is never asked to
            await session.execute(text("ANALYZE"))
    await database.close()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A full database, which nobody writes to."""
    found = backend_of(request, tmp_path_factory.mktemp("full")).make(migrated=True)
    asyncio.run(fill(open_database(found)))
    return found


@pytest.fixture
async def full(url: str) -> AsyncIterator[Database]:
    database = open_database(url)
    yield database
    await database.close()


async def test_hot_queries_use_their_indexes(full: Database) -> None:
    explain = "EXPLAIN " if full.dialect == "postgresql" else "EXPLAIN QUERY PLAN "
    for what, (query, index) in HOT.items():
        async with full.read() as session:
            plan = "\n".join(str(tuple(row)) for row in await session.execute(text(explain + query)))
        assert index in plan, f"{what}: {plan}"


async def test_pages_of_models_are_read_in_the_order_of_an_index(full: Database) -> None:
    explain = "EXPLAIN " if full.dialect == "postgresql" else "EXPLAIN QUERY PLAN "
    for what in ("a page of models", "the models that changed last", "models in the order of their last change"):
        async with full.read() as session:
            plan = "\n".join(str(tuple(row)) for row in await session.execute(text(explain + HOT[what][0])))
        assert "Sort" not in plan, f"{what}: {plan}"
        assert "TEMP B-TREE" not in plan, f"{what}: {plan}"


async def test_what_claims_ask_is_answered_from_their_indexes(full: Database) -> None:
    explain = "EXPLAIN (GENERIC_PLAN) " if full.dialect == "postgresql" else "EXPLAIN QUERY PLAN "
    full_shares = [] if full.dialect == "postgresql" else "[]"
    for what, (query_of, lane, values, index) in CLAIMS.items():
        query = query_of(lane, full.dialect)
        given = {"full": full_shares, "most": 4, **values}
        async with direct_write(full) as session:
            plan = await session.fetch(Query(explain + query.text, query.names, query.fixed), **given)
        lines = [str(line[-1]) for line in plan]
        assert index in "\n".join(lines), f"{what}: {lines}"
        table = index.split("_")[1]
        # (The few rows that are under way, which receivers have limits on, are read as they are.)
        others = [line for line in lines if "_lease" not in line]
        scans = [line for line in others if f"Seq Scan on {table}" in line or line.startswith(f"SCAN {table}")]
        assert not scans, f"{what}: {lines}"
        # In the index' own order: rows that are due are not collected first and sorted afterwards.
        if query_of is best_due:
            sorts = [line for line in lines if "Sort" in line or "TEMP B-TREE FOR ORDER BY" in line]
            assert not sorts, f"{what}: {lines}"
