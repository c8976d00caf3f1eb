"""The fixture that every test of the workers starts from."""

import asyncio
import base64
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.stack.child import free_port
from deploy.stack.postgres import PostgresServer
from deploy.stack.process import PortsideProcess, Recipe
from deploy.stack.redis import RedisServer
from tests.workers.installation import Installation, StartWorker, open_installation
from tests.workers.platform import Platform, open_platform

TEMPLATE = "template_of_tests"
NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the schema and its first rows: to migrate takes longer than most tests."""
    folder = tmp_path_factory.mktemp("migrated")
    asyncio.run(_migrated(folder, None))
    return folder / "portside.db"


async def _migrated(folder: Path, database_url: str | None) -> None:
    async with open_platform(folder, database_url=database_url):
        pass


@pytest.fixture
def data(migrated_file: Path, tmp_path: Path) -> Path:
    """A data folder with a migrated database."""
    shutil.copy(migrated_file, tmp_path / migrated_file.name)
    return tmp_path


@pytest.fixture
async def platform(data: Path) -> AsyncIterator[Platform]:
    """A real database without a worker."""
    async with open_platform(data, is_migrated=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A real PostgreSQL for one file of tests, with a migrated database to copy; what is tested is not what a power cut
    leaves."""
    server = PostgresServer.start(tmp_path_factory.mktemp("postgres"), durable=False)
    try:
        url = server.create_database(TEMPLATE)
        asyncio.run(_migrated(tmp_path_factory.mktemp("migrated"), url))
        yield server
    finally:
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
    url = postgres.create_database(f"test_{next(NUMBERS)}", template=TEMPLATE)
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
        request.addfinalizer(process.kill)  # also of one that has ended: what guards it must not outlive the test
        process.await_ready()
        return process

    return start
