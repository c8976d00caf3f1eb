"""Rows that the tests of this room begin with."""

import asyncio

from sqlalchemy import text

from core.clock import now_micros
from core.ids import new_id
from core.secrets import Vault
from state import claims, operations
from state.advance import lock
from state.claims import Claim
from state.database import Database, WriteSession
from state.history import By, Row, begin
from state.migrate import DEFAULT_TENANT
from state.operations import Who
from state.tables import Model, Operation, Prediction, Service, Version, WebhookEndpoint
from state.worktables import Work

VAULT = Vault(b"k" * 32)
ME = Who(DEFAULT_TENANT, "local", "admin", "req_test")
TEST = By("test")
LEASE = 10_000_000


async def make_model(session: WriteSession, name: str = "iris") -> Model:
    now = now_micros()
    model = Model(id=new_id("mdl"), tenant_id=DEFAULT_TENANT, created_at=now, updated_at=now, tags=[], name=name)
    await begin(session, model, TEST)
    return model


async def make_version(session: WriteSession, name: str = "iris", number: int = 1) -> Version:
    return await make_version_of(session, await make_model(session, name), number)


async def make_version_of(session: WriteSession, model: Model, number: int, digest: str = "0" * 64) -> Version:
    now = now_micros()
    version = Version(
        id=new_id("ver"),
        tenant_id=DEFAULT_TENANT,
        created_at=now,
        updated_at=now,
        tags=[],
        model_id=model.id,
        number=number,
        digest=f"sha256:{digest}",
        size_bytes=1,
        format="onnx",
    )
    await begin(session, version, TEST)
    return version


async def make_service(session: WriteSession, name: str = "iris") -> Service:
    now = now_micros()
    service = Service(
        id=new_id("svc"), tenant_id=DEFAULT_TENANT, created_at=now, updated_at=now, tags=[], name=name, replicas=1
    )
    await begin(session, service, TEST)
    return service


async def make_prediction(session: WriteSession, **values: object) -> Prediction:
    now = now_micros()
    prediction = Prediction(
        id=new_id("prd"),
        tenant_id=DEFAULT_TENANT,
        created_at=now,
        lane="predict",
        due_at=now,
        service_id="svc_x",
        service_name="iris",
        model_name="iris",
        version="1",
        body={"inputs": {"x": 1}},
        base_url="http://localhost",
        **values,
    )
    await begin(session, prediction, TEST)
    return prediction


async def make_endpoint(session: WriteSession, events: list[str]) -> WebhookEndpoint:
    now = now_micros()
    endpoint = WebhookEndpoint(
        id=new_id("whk"),
        tenant_id=DEFAULT_TENANT,
        created_at=now,
        updated_at=now,
        url="http://localhost/hook",
        events=events,
        secret_sealed="x",
    )
    session.add(endpoint)
    await session.flush()
    return endpoint


async def submit_inspection(database: Database, name: str = "iris") -> Operation:
    """A received version and its queued inspection."""
    async with database.write() as session:
        return await operations.submit(session, ME, "version.inspect", await make_version(session, name))


async def take(database: Database, lane: str = "control", owner: str = "one") -> tuple[Claim, Work]:
    """Claim what must be there."""
    taken = await claims.take(database, lane, owner, LEASE)
    assert taken is not None
    return taken


async def status_of(database: Database, table: type[Row], id: str) -> str:
    async with database.write() as session:
        return (await lock(session, table, id)).status


async def somebody_waits_for_a_lock(database: Database) -> None:
    """Until a transaction waits for another one; where one writes at a time, all others do at once."""
    if database.dialect == "sqlite":
        return
    # Of this database: the server's other ones have work of their own, such as that of autovacuum.
    here = "datname = current_database() AND wait_event_type = 'Lock'"
    waiting = text(f"SELECT count(*) FROM pg_stat_activity WHERE {here}")
    async with asyncio.timeout(60.0):
        while True:
            async with database.read() as session:
                if await session.scalar(waiting):
                    return
            await asyncio.sleep(0.005)
