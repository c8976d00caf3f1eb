"""A thousand duplicates of one request at once have one effect, on both databases and across two APIs on one."""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from httpx2 import ASGITransport, AsyncClient, Response

from api.app import build_app
from api.dependencies import Context
from core.settings import Settings
from deploy.stack.postgres import PostgresServer
from tests.api.catalogue import add_ready_versions, running_service
from tests.api.platform import open_context

NUMBERS = itertools.count()
COUNT = 1000
FEWER = 100  # of what goes another way to the same place
KEY = {"Idempotency-Key": "storm"}
WEBHOOKS = "/api/v1/webhooks"
INPUT = {"inputs": {"x": [1, 2, 3, 4]}}


@dataclass(frozen=True)
class Api:
    """One API and a client of it."""

    context: Context
    client: AsyncClient


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A real PostgreSQL; what is tested is not what a power cut leaves."""
    started = PostgresServer.start(tmp_path_factory.mktemp("postgres"), durable=False)
    yield started
    started.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
async def apis(request: pytest.FixtureRequest, tmp_path: Path, migrated: Path) -> AsyncIterator[list[Api]]:
    """One API on SQLite, which belongs to one process; two on PostgreSQL, each with its own pool."""
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            shutil.copy(migrated, tmp_path / "portside.db")
            yield [await _open(stack, Settings(data=tmp_path))]
            return
        server: PostgresServer = request.getfixturevalue("server")
        url = server.create_database(f"duplicates_{next(NUMBERS)}")
        yield [await _open(stack, Settings(data=tmp_path / name, database_url=url)) for name in ("one", "two")]


async def _open(stack: AsyncExitStack, settings: Settings) -> Api:
    context = await stack.enter_async_context(open_context(settings))
    transport = ASGITransport(build_app(context))
    client = AsyncClient(transport=transport, base_url="http://localhost", timeout=60)
    return Api(context, await stack.enter_async_context(client))


async def storm(apis: list[Api], path: str, body: object, count: int) -> list[Response]:
    """The same request so many times at once, the APIs by turns."""
    sent = (apis[n % len(apis)].client.post(path, json=body, headers=KEY) for n in range(count))
    return list(await asyncio.gather(*sent))


async def total(apis: list[Api], path: str) -> int:
    return int((await apis[0].client.get(f"{path}?count=true&page_size=1")).json()["total"])


async def test_a_thousand_duplicates_of_a_change_are_one(apis: list[Api]) -> None:
    answers = await storm(apis, WEBHOOKS, {"url": "https://example.com/"}, COUNT)
    assert {answer.status_code for answer in answers} == {201}, {answer.text for answer in answers}
    assert len({answer.text for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert await total(apis, WEBHOOKS) == 1


async def test_duplicates_of_a_prediction_are_one_prediction(apis: list[Api]) -> None:
    await add_ready_versions(apis[0].context, 1)
    await running_service(apis[0].client, apis[0].context)
    answers = await storm(apis, "/api/v1/services/iris/predictions", INPUT, FEWER)
    assert {answer.status_code for answer in answers} == {202}, {answer.text for answer in answers}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await total(apis, "/api/v1/predictions") == 1
