"""A bucket behind a bad network, behind a server that dies, stalls or is full, and behind wrong settings."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from minio.credentials.providers import StaticProvider
from minio.minioadmin import MinioAdmin

from core.errors import DiskFull, StoreUnavailable
from deploy.stack.minio import BUCKET, MinioServer
from storage.access import Patience, S3Access
from storage.digests import Digest
from storage.remote import PART_BYTES, S3Store
from storage.s3 import S3Bucket
from tests.storage.proxy import Proxy, Trouble, http_answer, proxy_before
from tests.storage.servers import HASTY, PATIENT, STEADY, access_of, running_minio
from tests.storage.streams import pieces_of, standing_still

NOW = timedelta(0)
ABSENT = Digest("0" * 64)
SMALL = os.urandom(300_000)
LARGE = os.urandom(2 * PART_BYTES + 12_345)


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with running_minio(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture
async def proxy(minio: MinioServer) -> AsyncIterator[Proxy]:
    async with proxy_before(minio.port) as proxy:
        yield proxy


Opener = Callable[..., S3Store]


@pytest.fixture
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Opener]:
    """Opens stores under a prefix of this test's own, and closes them."""
    stores = []

    def open_with(access: S3Access, patience: Patience = STEADY, bucket: str = BUCKET) -> S3Store:
        prefix = f"{abs(hash(request.node.name))}/"
        stores.append(S3Store(S3Bucket(bucket, access, patience), prefix, abandoned_after=NOW))
        return stores[-1]

    yield open_with
    for store in stores:
        await store.close()


async def read(store: S3Store, digest: Digest) -> bytes:
    return b"".join([piece async for piece in store.open(digest)])


async def listed(store: S3Store) -> list[Digest]:
    return [digest async for digest in store.list()]


VERBS: dict[str, Callable[[S3Store], Awaitable[object]]] = {
    "put": lambda store: store.put(pieces_of(SMALL)),
    "put-parts": lambda store: store.put(pieces_of(LARGE)),
    "open": lambda store: read(store, ABSENT),
    "stat": lambda store: store.stat(ABSENT),
    "delete": lambda store: store.delete(ABSENT),
    "list": lambda store: listed(store),
    "sweep": lambda store: store.sweep_partial(NOW),
}
every_verb = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())


async def refusal(store: S3Store, verb: Callable[[S3Store], Awaitable[object]]) -> str:
    """What the verb says; it must say it soon."""
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        await verb(store)
    assert time.monotonic() - began < 60
    assert (caught.value.status, caught.value.code) == (503, "store_unavailable")
    return caught.value.message


@every_verb
async def test_wrong_keys_are_named_by_their_settings(
    minio: MinioServer, opened: Opener, verb: Callable[[S3Store], Awaitable[object]]
) -> None:
    for access in (
        replace(access_of(minio), secret_key="another secret key"),
        replace(access_of(minio), access_key="nobody"),
    ):
        assert "PORTSIDE_S3_ACCESS_KEY, PORTSIDE_S3_SECRET_KEY" in await refusal(opened(access), verb)


@every_verb
async def test_a_missing_bucket_is_said_and_never_made(
    minio: MinioServer, opened: Opener, verb: Callable[[S3Store], Awaitable[object]]
) -> None:
    store = opened(access_of(minio), bucket="not-there")
    for _ in range(2):
        assert "bucket of the artifact store does not exist" in await refusal(store, verb)


@every_verb
async def test_a_port_where_nobody_listens_is_said_at_once(
    minio: MinioServer, opened: Opener, verb: Callable[[S3Store], Awaitable[object]]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody else can listen there, and this one does not
        access = access_of(minio, taken.getsockname()[1])
        assert "Nobody listens at PORTSIDE_S3_ENDPOINT" in await refusal(opened(access), verb)


@every_verb
async def test_a_server_that_stalls_is_given_up(
    proxy: Proxy, minio: MinioServer, opened: Opener, verb: Callable[[S3Store], Awaitable[object]]
) -> None:
    proxy.trouble = Trouble(stalls=True)
    assert "did not answer in time" in await refusal(opened(access_of(minio, proxy.port), HASTY), verb)


@every_verb
async def test_a_connection_that_is_always_cut_is_given_up(
    proxy: Proxy, minio: MinioServer, opened: Opener, verb: Callable[[S3Store], Awaitable[object]]
) -> None:
    proxy.trouble = Trouble(cut_after_sent=0)
    assert "connection to the S3 server broke" in await refusal(opened(access_of(minio, proxy.port)), verb)


@every_verb
@pytest.mark.parametrize("content_type", ["text/html", "application/xml", "text/xml"])
async def test_a_server_that_does_not_speak_s3_is_told_from_one_that_has_no_such_blob(
    proxy: Proxy, minio: MinioServer, opened: Opener, verb: Callable[[S3Store], Awaitable[object]], content_type: str
) -> None:
    for status in ("403 Forbidden", "418 Teapot"):
        proxy.trouble = Trouble(answers=http_answer(status, "<html>hello</html>", content_type))
        assert "S3" in await refusal(opened(access_of(minio, proxy.port)), verb)


async def test_an_unknown_host_is_named_by_its_setting(minio: MinioServer, opened: Opener) -> None:
    store = opened(replace(access_of(minio), endpoint="http://s3.invalid:9000"))
    assert "host of the S3 server is unknown: correct PORTSIDE_S3_ENDPOINT" in await refusal(store, VERBS["stat"])


async def test_a_server_that_never_accepts_is_given_up(minio: MinioServer, opened: Opener) -> None:
    with socket.socket() as full, socket.socket() as filler:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port: int = full.getsockname()[1]
        filler.connect(("127.0.0.1", port))  # takes the one place in the queue
        store = opened(access_of(minio, port), replace(HASTY, connect_s=0.3))
        assert "did not answer in time" in await refusal(store, VERBS["stat"])


async def test_a_part_whose_connection_is_cut_is_sent_again(proxy: Proxy, minio: MinioServer, opened: Opener) -> None:
    proxy.trouble = Trouble(cut_after_sent=2_000_000, times=2)
    store = opened(access_of(minio, proxy.port), PATIENT)
    stored = await store.put(pieces_of(LARGE))
    assert proxy.cuts == 2
    assert await read(store, stored.digest) == LARGE
    assert await store.sweep_partial(NOW) == 0


async def test_a_reading_whose_connection_is_cut_goes_on_where_it_was(
    proxy: Proxy, minio: MinioServer, opened: Opener
) -> None:
    store = opened(access_of(minio, proxy.port), PATIENT)
    stored = await store.put(pieces_of(LARGE))
    proxy.trouble = Trouble(cut_after_received=3_000_000, times=3)
    assert await read(store, stored.digest) == LARGE
    assert proxy.cuts == 3


async def test_a_reading_that_stalls_for_good_is_given_up_and_never_ends_early(
    proxy: Proxy, minio: MinioServer, opened: Opener
) -> None:
    store = opened(access_of(minio, proxy.port), Patience(connect_s=2, read_s=1.5, repeats=0, reconnects=1))
    stored = await opened(access_of(minio)).put(pieces_of(LARGE))
    received = 0

    async def read_until_stalled() -> None:
        nonlocal received
        async for piece in store.open(stored.digest):
            received += len(piece)
            proxy.trouble = Trouble(stalls=True)

    with pytest.raises(StoreUnavailable, match="in time"):
        await read_until_stalled()
    assert 0 < received < len(LARGE)


async def test_an_upload_that_breaks_for_good_leaves_what_the_next_sweep_removes(
    proxy: Proxy, minio: MinioServer, opened: Opener
) -> None:
    store, direct = opened(access_of(minio, proxy.port)), opened(access_of(minio))
    sent = asyncio.Event()
    upload = asyncio.create_task(store.put(standing_still(LARGE, sent)))
    await asyncio.wait_for(sent.wait(), 60)
    await proxy.refuse()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert await listed(direct) == []
    assert await direct.sweep_partial(timedelta(hours=1)) == 0, "it is not that old"
    assert await direct.sweep_partial(NOW) == 1
    assert await direct.sweep_partial(NOW) == 0


async def test_an_upload_that_was_swept_under_its_writer_fails_and_stores_nothing(
    minio: MinioServer, opened: Opener
) -> None:
    store, sweeping = opened(access_of(minio)), opened(access_of(minio))

    async def swept_meanwhile() -> AsyncIterator[bytes]:
        async for piece in pieces_of(LARGE):
            yield piece
        assert await sweeping.sweep_partial(NOW) == 1
        async for piece in pieces_of(LARGE):
            yield piece

    with pytest.raises(StoreUnavailable, match="was ended"):
        await store.put(swept_meanwhile())
    assert await listed(store) == []
    assert await store.sweep_partial(NOW) == 0


async def test_the_age_below_which_an_upload_is_never_abandoned_holds(minio: MinioServer, opened: Opener) -> None:
    store, sweeping = opened(access_of(minio)), S3Store(S3Bucket(BUCKET, access_of(minio), STEADY))
    sent = asyncio.Event()
    upload = asyncio.create_task(store.put(standing_still(LARGE, sent)))
    await asyncio.wait_for(sent.wait(), 60)
    assert await sweeping.sweep_partial(NOW) == 0
    upload.cancel()
    await asyncio.gather(upload, return_exceptions=True)
    await sweeping.close()


async def test_parts_put_together_whose_answer_is_lost_are_found(
    proxy: Proxy, minio: MinioServer, opened: Opener
) -> None:
    proxy.trouble = Trouble(cut_on_answer_to=b"<CompleteMultipartUpload", times=1)
    store = opened(access_of(minio, proxy.port), PATIENT)
    stored = await store.put(pieces_of(LARGE))
    assert proxy.cuts == 1
    assert await read(store, stored.digest) == LARGE
    assert await store.sweep_partial(NOW) == 0


async def test_an_answer_that_passes_is_asked_for_again_without_minutes_of_waiting(
    proxy: Proxy, minio: MinioServer, opened: Opener
) -> None:
    busy = http_answer("503 Slow Down\r\nRetry-After: 120", "<Error><Code>SlowDown</Code><Message>x</Message></Error>")
    proxy.trouble = Trouble(answers=busy)
    store = opened(access_of(minio, proxy.port))
    assert "SlowDown" in await refusal(store, VERBS["put"])
    upload = asyncio.create_task(opened(access_of(minio, proxy.port), PATIENT).put(pieces_of(SMALL)))
    await asyncio.sleep(0.05)
    proxy.trouble = Trouble()
    assert await read(store, (await upload).digest) == SMALL


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["whole", "parts"])
async def test_a_full_server_is_a_full_disk(proxy: Proxy, minio: MinioServer, opened: Opener, data: bytes) -> None:
    # What MinIO answers without room: its storage-class check cannot be met on a disk that others share.
    body = "<Error><Code>XMinioStorageFull</Code><Message>Storage backend has reached its minimum</Message></Error>"
    proxy.trouble = Trouble(answers=http_answer("507 Insufficient Storage", body))
    store = opened(access_of(minio, proxy.port))
    with pytest.raises(DiskFull) as caught:
        await store.put(pieces_of(data))
    assert (caught.value.status, caught.value.code) == (507, "disk_full")


async def test_a_bucket_beyond_its_quota_is_a_full_disk_and_takes_uploads_once_it_is_raised(
    minio: MinioServer, opened: Opener
) -> None:
    host = f"127.0.0.1:{minio.port}"
    keys = StaticProvider(minio.access_key, minio.secret_key)
    admin = MinioAdmin(endpoint=host, credentials=keys, secure=False, cert_check=False)
    store = opened(access_of(minio))
    await asyncio.to_thread(admin.bucket_quota_set, BUCKET, 100_000)
    try:
        for data in (SMALL, LARGE):
            with pytest.raises(DiskFull):
                await store.put(pieces_of(data))
    finally:
        await asyncio.to_thread(admin.bucket_quota_clear, BUCKET)
    assert await listed(store) == []
    assert await store.sweep_partial(NOW) == 0
    assert (await store.put(pieces_of(LARGE))).size_bytes == len(LARGE)


async def test_an_upload_outlives_a_server_that_is_killed_and_started_again(minio: MinioServer, opened: Opener) -> None:
    store, is_dead = opened(access_of(minio), PATIENT), asyncio.Event()

    async def killed_meanwhile() -> AsyncIterator[bytes]:
        async for piece in pieces_of(LARGE[: PART_BYTES + 1_500_000]):
            yield piece
        await asyncio.to_thread(minio.kill)
        is_dead.set()
        async for piece in pieces_of(LARGE[PART_BYTES + 1_500_000 :]):
            yield piece

    async def started_again() -> None:
        await asyncio.wait_for(is_dead.wait(), 60)
        await asyncio.to_thread(minio.restart)

    starting = asyncio.create_task(started_again())
    try:
        stored = await store.put(killed_meanwhile())
    finally:
        await starting
    assert await read(store, stored.digest) == LARGE
    assert await store.sweep_partial(NOW) == 0


async def test_a_paused_server_is_given_up_and_serves_again_once_it_goes_on(minio: MinioServer, opened: Opener) -> None:
    store = opened(access_of(minio))
    stored = await store.put(pieces_of(LARGE))
    hasty = opened(access_of(minio), HASTY)
    await asyncio.to_thread(minio.pause)
    try:
        for verb in ("stat", "put", "open"):
            assert "did not answer in time" in await refusal(hasty, VERBS[verb])
        patient = asyncio.create_task(opened(access_of(minio), PATIENT).put(pieces_of(SMALL)))
        await asyncio.sleep(0.05)
    finally:
        await asyncio.to_thread(minio.resume)
    assert (await patient).size_bytes == len(SMALL)
    assert await read(store, stored.digest) == LARGE
