"""What the tests of the API stand on: an open context, rows made as the platform makes them, waiting on a condition."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from httpx2 import Response

from api.dependencies import Context, compose
from core.clock import now_micros
from core.errors import Json
from core.ids import new_id
from core.secrets import Vault, hash_token, new_token
from core.settings import Settings
from state.claims import take
from state.database import WriteSession, open_database
from state.endings import Locked, fail, lock_held, succeed
from state.history import By, begin
from state.migrate import DEFAULT_TENANT, migrate
from state.operations import Who, submit
from state.tables import Model, Operation, Tenant, Token, User, Version
from storage.local import LocalStore

LOCAL = Who(DEFAULT_TENANT, "local", "admin")
DEADLINE_S = 60.0
KEY = bytes(range(32))


@asynccontextmanager
async def open_context(settings: Settings) -> AsyncIterator[Context]:
    """A context with its own database and store in the data folder of the settings."""
    database = open_database(settings.database)
    store = LocalStore(settings.data / "artifacts")
    vault = Vault(KEY)
    try:
        await migrate(database, vault)
        context = compose(settings, database, store, vault)
        try:
            await context.start()
            yield context
        finally:
            await context.close()
    finally:
        await store.close()
        await database.close()


async def add_version(context: Context, name: str = "iris") -> Version:
    """A version that was just received, of a new model."""
    now = now_micros()
    common = {"tenant_id": DEFAULT_TENANT, "created_at": now, "updated_at": now, "tags": []}
    model = Model(id=new_id("mdl"), name=name, last_number=1, **common)
    version = Version(
        id=new_id("ver"),
        model_id=model.id,
        number=1,
        digest=f"sha256:{'0' * 64}",
        size_bytes=1,
        format="onnx",
        **common,
    )
    async with context.database.write() as session:
        await begin(session, model, By("local"))
        await begin(session, version, By("local"))
    return version


async def add_operation(context: Context, name: str = "iris", who: Who = LOCAL) -> Operation:
    """A queued inspection of a new version."""
    version = await add_version(context, name)
    async with context.database.write() as session:
        return await submit(session, who, "version.inspect", version, model=name)


async def add_user(context: Context, tenant: str, user: str, role: str = "admin") -> Mapping[str, str]:
    """A user of a tenant of their own, made as an operator would; answers the header that says who asks."""
    token = new_token()
    tenant_id, user_id = new_id("ten"), new_id("usr")
    now = now_micros()
    async with context.database.write() as session:
        session.add(Tenant(id=tenant_id, name=tenant, created_at=now))
        session.add(User(id=user_id, tenant_id=tenant_id, created_at=now, name=user, role=role))
        await session.flush()
        session.add(
            Token(
                id=new_id("tok"),
                tenant_id=tenant_id,
                created_at=now,
                user_id=user_id,
                name="first",
                hash=hash_token(token),
            )
        )
    await context.authenticator.refresh()
    return {"Authorization": f"Bearer {token}"}


async def until(holds: Callable[[], Awaitable[bool]], deadline_s: float = DEADLINE_S) -> None:
    """Wait until a condition holds; fails at the deadline."""
    async with asyncio.timeout(deadline_s):
        while not await holds():
            await asyncio.sleep(0.02)


def is_problem(response: Response, status: int, code: str) -> dict[str, object]:
    """Assert that the answer is this problem (RFC 9457) and hand its document over."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, object] = response.json()
    assert body["status"] == status
    assert body["code"] == code, body
    assert {"type", "title", "detail", "instance", "request_id"} <= set(body)
    assert body["request_id"] == response.headers["x-request-id"]
    return body


async def work_on(context: Context, outcome: Callable[[WriteSession, Locked], Awaitable[None]]) -> str:
    """Claim the best due operation and end it as a worker would; answers its id."""
    taken = await take(context.database, "control", "worker", 10_000_000)
    assert taken is not None
    claim, row = taken
    async with context.database.write() as session:
        await outcome(session, await lock_held(session, claim, row))
    return claim.id


async def succeeds(session: WriteSession, work: Locked) -> None:
    """The work took effect."""
    await succeed(session, work, By("worker"), result={"seen": True}, row={}, target={})


async def fails(session: WriteSession, work: Locked) -> None:
    """The work was in vain, for a reason of our own."""
    problem: dict[str, Json] = {"title": "The inspection failed", "detail": "the child died"}
    problem |= {"type": "urn:portside:problem:inspection_failed", "status": 500, "code": "inspection_failed"}
    await fail(session, work, By("worker"), problem)
