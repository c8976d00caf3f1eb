"""API and worker in one process over a real bucket that goes away and comes back: nothing is lost, nothing a 500."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from httpx2 import ASGITransport, AsyncClient, Response
from sqlalchemy import select

from api.app import build_app
from api.dependencies import compose
from core.clock import now_micros
from deploy.stack.minio import BUCKET, MinioServer
from state.blobs import touch_blob
from state.sweeping import condemn, doom
from state.tables import History, Operation
from storage.base import Stored
from storage.remote import S3Store
from storage.s3 import S3Bucket
from tests.storage.proxy import Proxy, Trouble, proxy_before
from tests.storage.servers import HASTY, access_of, running_minio
from tests.storage.streams import pieces_of
from tests.workers.platform import Platform, open_platform
from workers.handlers.models import inspect
from workers.sweeper import Sweeper

IRIS = (Path(__file__).resolve().parents[2] / "examples" / "iris.onnx").read_bytes()
UPLOAD = "/api/v1/models/iris/versions"
RAW = {"Content-Type": "application/octet-stream"}
NOW = timedelta(0)


@dataclass(frozen=True)
class Site:
    """What a test acts on: a client of the API, the worker's side, the bucket, and the line to it."""

    client: AsyncClient
    platform: Platform
    store: S3Store
    proxy: Proxy

    async def upload(self, key: str = "first") -> Response:
        return await self.client.post(UPLOAD, content=IRIS, headers={**RAW, "Idempotency-Key": key})

    async def tried_in_vain(self, operation: Operation) -> bool:
        """Whether an attempt has failed because nobody listened at the bucket's address."""
        async with self.platform.database.read() as session:
            messages = await session.scalars(select(History.message).where(History.resource_id == operation.id))
            return any("Nobody listens at PORTSIDE_S3_ENDPOINT" in (message or "") for message in messages)

    async def has_ended(self, operation: Operation) -> bool:
        return (await self.platform.now(operation)).completed_at is not None

    async def stored(self) -> list[str]:
        return [str(digest) async for digest in self.store.list()]


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait on a condition, long enough for several attempts and an inspection on a busy machine."""
    async with asyncio.timeout(120):
        while not await holds():
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with running_minio(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture
async def site(minio: MinioServer, tmp_path: Path) -> AsyncIterator[Site]:
    async with proxy_before(minio.port) as proxy:
        store = S3Store(S3Bucket(BUCKET, access_of(minio, proxy.port), HASTY), f"{tmp_path.name}/")
        async with open_platform(tmp_path, store) as platform:
            parts = platform.resources
            context = compose(parts.settings, parts.database, store, parts.vault)
            await context.start()
            transport = ASGITransport(build_app(context))
            async with AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
                yield Site(client, platform, store, proxy)
            await context.close()


async def put_unreferenced(site: Site) -> Stored:
    """The bytes of the example in the bucket, with a row, and nothing that refers to them."""
    stored = await site.store.put(pieces_of(IRIS))
    async with site.platform.database.write() as session:
        await touch_blob(session, str(stored.digest), stored.size_bytes)
    return stored


async def test_an_upload_whose_store_is_away_is_503_and_succeeds_unchanged_once_it_is_back(site: Site) -> None:
    await site.proxy.refuse()
    for _ in range(2):
        refused = await site.upload()
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
        assert int(refused.headers["retry-after"]) >= 1
    assert (await site.client.get("/api/v1/models")).json()["items"] == []
    await site.proxy.listen()
    site.proxy.trouble = Trouble(stalls=True)
    stalled = await site.upload()
    assert (stalled.status_code, stalled.json()["code"]) == (503, "store_unavailable")
    site.proxy.trouble = Trouble()
    made = await site.upload()
    assert made.status_code in (201, 202), made.text
    assert (await site.upload()).json() == made.json(), "the same key is the same upload"
    assert (await site.client.get(f"{UPLOAD}/1/artifact")).content == IRIS


async def test_a_download_whose_store_is_away_is_503(site: Site) -> None:
    await site.upload()
    await site.proxy.refuse()
    refused = await site.client.get(f"{UPLOAD}/1/artifact")
    assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
    assert "retry-after" in refused.headers


async def test_an_operation_that_meets_an_absent_store_is_tried_again_and_succeeds(site: Site) -> None:
    await site.upload()
    async with site.platform.database.read() as session:
        operation = (await session.scalars(select(Operation))).one()
    await site.proxy.refuse()
    await site.platform.start({"version.inspect": inspect})
    await eventually(lambda: site.tried_in_vain(operation))
    await site.proxy.listen()
    await eventually(lambda: site.has_ended(operation))
    assert (await site.platform.now(operation)).status == "succeeded"
    assert (await site.platform.target_of(operation)).status == "ready"


async def test_the_sweeper_deletes_from_the_bucket_and_the_same_bytes_can_be_uploaded_again(site: Site) -> None:
    stored = await put_unreferenced(site)
    sweeper = Sweeper(site.platform.resources, idle=NOW, doomed_for=NOW)
    await sweeper.look()
    await sweeper.look()
    assert await site.stored() == []
    assert (await site.upload()).status_code in (201, 202)
    await sweeper.look()
    await sweeper.look()
    assert await site.stored() == [str(stored.digest)]
    assert (await site.client.get(f"{UPLOAD}/1/artifact")).content == IRIS


async def test_an_upload_of_the_bytes_that_are_just_being_deleted_is_refused_and_then_taken(site: Site) -> None:
    await put_unreferenced(site)
    sweeper = Sweeper(site.platform.resources)
    async with site.platform.database.write() as session:
        await doom(session, now_micros() + 1)
    async with site.platform.database.write() as session:
        condemned = await condemn(session, now_micros() + 1)
    assert condemned is not None
    refused = await site.upload()
    assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
    assert await sweeper.execute(condemned)
    assert (await site.upload()).status_code in (201, 202)
    assert (await site.client.get(f"{UPLOAD}/1/artifact")).content == IRIS


async def test_uploads_and_sweeps_of_the_same_bytes_at_once_never_leave_a_version_without_its_bytes(site: Site) -> None:
    await put_unreferenced(site)
    sweeper = Sweeper(site.platform.resources, idle=NOW, doomed_for=NOW)

    async def sweep() -> None:
        for _ in range(8):
            await sweeper.look()

    sweeping = asyncio.create_task(sweep())
    accepted = 0
    for number in range(8):
        answer = await site.upload(f"try-{number}")
        assert answer.status_code in (201, 202, 503), answer.text
        accepted += answer.status_code != 503
        if accepted:
            assert (await site.client.get(f"{UPLOAD}/1/artifact")).content == IRIS
    await sweeping
    assert accepted
