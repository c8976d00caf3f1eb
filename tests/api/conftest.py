"""The real app over a real SQLite file and a real folder of artifacts; no worker runs, so operations stay queued."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient

from api.app import build_app
from api.dependencies import Context
from core.settings import Settings
from tests.api.platform import open_context
from tests.api.world import Made, make_world


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with every migration; tests copy it, which is 50 times faster than migrating again."""
    settings = Settings(data=tmp_path_factory.mktemp("migrated"))

    async def make() -> None:
        async with open_context(settings):
            pass

    asyncio.run(make())
    return settings.data / "portside.db"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Made:
    """One of everything that a path can name; tests copy it."""
    return make_world(tmp_path_factory.mktemp("world"), migrated)


@pytest.fixture
def settings(tmp_path: Path, migrated: Path) -> Settings:
    shutil.copy(migrated, tmp_path / "portside.db")
    return Settings(data=tmp_path, max_body_bytes=100_000)


@pytest.fixture
async def context(settings: Settings) -> AsyncIterator[Context]:
    async with open_context(settings) as opened:
        yield opened


@pytest.fixture
def app(context: Context) -> FastAPI:
    return build_app(context)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[AsyncClient]:
    """A client on this machine, without a token."""
    async with AsyncClient(transport=ASGITransport(app), base_url="http://localhost:8000") as opened:
        yield opened
