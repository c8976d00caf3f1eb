"""Services' own ports over real sockets: opened and closed as the routing table says, a busy one said and retried."""

import asyncio
import resource
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest

from api.dependencies import no_logs
from cli import service_ports
from cli.backends import open_backends
from cli.front import Front, start_front
from core.settings import Settings
from deploy.stack.child import free_port
from state.queries.services import find_service
from state.service_ports import take_port
from tests.api.gateway.replicas import FakeReplica, replica
from tests.api.gateway.test_gateway import make_replica, make_service
from tests.api.platform import LOCAL, add_user, until
from tests.state.conftest import fill

SERVICES = "/api/v1/services"
WITHIN_S = 60.0
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # to read the certificates of all authorities takes longer than to ask


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file of the newest schema, to copy."""
    file = tmp_path_factory.mktemp("migrated") / "portside.db"
    asyncio.run(fill(f"sqlite:///{file}"))
    return file


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeReplica]:
    async with replica(tmp_path) as found:
        yield found


@pytest.fixture
async def front(tmp_path: Path, fake: FakeReplica, migrated: Path) -> AsyncIterator[Front]:
    """A front whose service `iris` runs on a replica, and whose service `rose` does not."""
    async with AsyncExitStack() as stack:
        settings = Settings(data=tmp_path / "data")
        settings.data.mkdir()
        shutil.copyfile(migrated, settings.data / migrated.name)
        backends = open_backends(settings, stack)
        iris = await make_service(backends.database, ["deploy", "ready"])
        await make_service(backends.database, ["deploy"], "rose")
        await make_replica(backends.database, iris, fake.address)
        yield await start_front(settings, backends, stack, read_logs=no_logs, signalled=True, version="1")


@pytest.fixture
def one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose descriptors allow one listener; asked for before `front`."""
    monkeypatch.setattr(service_ports, "most_listeners", lambda: 1)


async def give(front: Front, name: str, port: int | None) -> None:
    async with front.context.database.write() as session:
        await take_port(session, await find_service(session, LOCAL.tenant_id, name), port, range(0))


def client_of(port: int, headers: Mapping[str, str] | None = None) -> httpx2.AsyncClient:
    base_url = f"http://127.0.0.1:{port}"
    return httpx2.AsyncClient(base_url=base_url, headers=headers, timeout=60, verify=NO_TLS, trust_env=False)


async def status_of(port: int, path: str = "/healthz", method: str = "GET") -> int:
    """0 where nobody listens, or not any more by the time that the connection is accepted."""
    try:
        async with client_of(port) as client:
            return (await client.request(method, path, content=b"{}" if method == "POST" else None)).status_code
    except (httpx2.NetworkError, httpx2.RemoteProtocolError):
        return 0


async def opens(port: int) -> None:
    async def answers() -> bool:
        return await status_of(port) == 200

    await until(answers, WITHIN_S)


async def test_a_services_own_port_serves_it_alone_at_the_root(front: Front, fake: FakeReplica) -> None:
    port = free_port()
    await give(front, "iris", port)
    await opens(port)
    assert await status_of(port, "/predict", "POST") == 200
    assert await status_of(port, "/v2/models/iris/infer", "POST") == 200
    assert await status_of(port, "/v2/models/iris", "GET") == 200
    assert [seen.line.split()[1] for seen in fake.seen] == [
        f"{SERVICES}/iris/predict",
        "/v2/models/iris/infer",
        "/v2/models/iris",
    ]
    assert await status_of(port, "/v2/health/live") == 200
    for path in ("/v2/models/rose", "/api/v1/services", "/metrics", "/", "/v1/models/rose"):
        assert await status_of(port, path) == 404
    assert await status_of(port, "/predict") == 405
    assert await status_of(port, "/parts/fr/predict", "POST") == 200
    assert fake.seen[-1].line.split()[1] == f"{SERVICES}/iris/parts/fr/predict"
    assert await status_of(port, "/parts/fr", "POST") == 404


async def test_a_port_without_its_service_is_closed(front: Front) -> None:
    port = free_port()
    await give(front, "iris", port)
    await opens(port)
    await give(front, "iris", None)

    async def is_closed() -> bool:
        return await status_of(port) == 0

    await until(is_closed, WITHIN_S)


async def test_who_may_ask_is_the_same_on_every_port(front: Front) -> None:
    port = free_port()
    await give(front, "iris", port)
    await opens(port)
    async with client_of(port) as client:
        for headers in ({"Authorization": "Bearer pst_wrong"}, {"Host": "evil.example"}):
            assert (await client.post("/predict", content=b"{}", headers=headers)).status_code in (401, 403)


async def test_another_tenants_token_finds_nothing_at_a_port(front: Front, fake: FakeReplica) -> None:
    port = free_port()
    await give(front, "iris", port)
    await opens(port)
    headers = await add_user(front.context, "other", "olga")
    async with client_of(port, headers) as client:
        assert (await client.post("/predict", content=b"{}")).status_code == 404
        assert (await client.get("/v2/models/iris")).status_code == 404
    assert fake.seen == []


async def test_a_path_reaches_the_replica_as_it_was_written(front: Front, fake: FakeReplica) -> None:
    port = free_port()
    await give(front, "iris", port)
    await opens(port)
    await status_of(port, "/v2/models/iris/versions/1%0d%0aX: y/infer", "POST")
    await status_of(port, "/parts/x%0d%0aX: y%0d%0a%0d%0aPOST%20/predict", "POST")
    assert [seen.line for seen in fake.seen] == [
        "POST /v2/models/iris/versions/1%0d%0aX:%20y/infer HTTP/1.1",
        f"POST {SERVICES}/iris/parts/x%0d%0aX:%20y%0d%0a%0d%0aPOST%20/predict HTTP/1.1",
    ]
    assert all("x" not in seen.headers for seen in fake.seen)


async def test_a_busy_port_is_said_and_tried_again(front: Front) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        await give(front, "iris", port)

        async def is_said() -> bool:
            return "in use" in (front.context.port_fault(port) or "")

        await until(is_said, WITHIN_S)
    await opens(port)
    assert front.context.port_fault(port) is None


async def test_a_process_keeps_descriptors_for_its_connections(one_port: None, front: Front) -> None:
    first, second = free_port(), free_port()
    await give(front, "iris", first)
    await opens(first)
    await give(front, "rose", second)

    async def is_said() -> bool:
        return "more ports than the 1 " in (front.context.port_fault(second) or "")

    await until(is_said, WITHIN_S)
    assert (await status_of(first), await status_of(second)) == (200, 0)
    await give(front, "iris", None)
    await opens(second)
    assert front.context.port_fault(second) is None


def test_most_descriptors_are_left_for_others() -> None:
    assert 0 < service_ports.most_listeners() <= resource.getrlimit(resource.RLIMIT_NOFILE)[0] / 4
