"""The fixture that every test of the workers starts from."""

import base64
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.stack.child import free_port
from deploy.stack.postgres import PostgresServer
from deploy.stack.process import PortsideProcess, Recipe
from deploy.stack.redis import RedisServer
from tests.workers.installation import Installation, StartWorker, open_installation
from tests.workers.platform import Platform, open_platform

NUMBERS = itertools.count()


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    """A real database without a worker."""
    async with open_platform(tmp_path) as opened:
        yield opened


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A real PostgreSQL for one file of tests; what is tested is not what a power cut leaves."""
    server = PostgresServer.start(tmp_path_factory.mktemp("postgres"), durable=False)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis for one file of tests."""
    server = RedisServer.start(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
async def installation(
    tmp_path: Path, postgres: PostgresServer, redis_server: RedisServer
) -> AsyncIterator[Installation]:
    """Several processes over PostgreSQL and Redis; no worker is started."""
    redis_server.flush()
    url = postgres.create_database(f"test_{next(NUMBERS)}")
    async with open_installation(tmp_path, url, redis_server) as opened:
        yield opened


@pytest.fixture
def start_worker(installation: Installation, request: pytest.FixtureRequest, tmp_path: Path) -> StartWorker:
    """Starts real workers of the installation; one that still runs at the end is killed."""

    def start(drain_s: float = 30.0, **settings: str) -> PortsideProcess:
        port = free_port()
        folder, figures = tmp_path / f"process-{port}", f"127.0.0.1:{port}"
        environment = {
            "DATA": str(folder),
            "DATABASE_URL": installation.database_url,
            "BROKER_URL": installation.redis.url,
            "ARTIFACTS_URL": f"file://{tmp_path / 'artifacts'}",
            "SECRET_KEY": base64.b64encode(bytes(32)).decode(),
            "ALLOW_PRIVATE_WEBHOOKS": "true",
            "METRICS_PORT": str(port),
            "DRAIN_S": str(drain_s),
            **settings,
        }
        named = {f"PORTSIDE_{name}": value for name, value in environment.items()}
        process = PortsideProcess(
            Recipe("worker", "worker", ["worker"], named, f"http://{figures}/healthz", figures, folder)
        )
        process.start()
        request.addfinalizer(lambda: process.kill() if process.is_running else None)
        process.await_ready()
        return process

    return start
