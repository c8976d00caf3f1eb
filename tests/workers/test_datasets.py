"""Datasets are brought into the store, put together and described, whoever dies in between."""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.failpoints import arm
from deploy.stack.minio import BUCKET
from state.blobs import touch_blob
from state.datasets import NewDataset, create_dataset, delete_dataset, hold_dataset
from state.datatables import Dataset
from state.queries import operations
from state.queries.datasets import Piece, pieces_of
from state.sweeping import doom
from state.tables import Operation
from storage.digests import Digest
from storage.s3 import S3Bucket
from tests.storage.servers import STEADY, S3Server, access_of, running_minio
from tests.storage.streams import pieces_of as stream_of
from tests.workers.describer import stand_in
from tests.workers.platform import WHO, Platform, open_platform, wait_for
from tests.workers.sources import open_source
from workers.describing import read_answer
from workers.executor import Handler
from workers.handlers import datasets
from workers.origins import CREDENTIALS, FileOrigin, bring, origin_of

CSV = b"age,job\n41,clerk\n7,\n"
DIGEST = f"sha256:{hashlib.sha256(CSV).hexdigest()}"
HANDLERS: dict[str, Handler] = {"dataset.create": datasets.create}


@pytest.fixture
async def platform(data: Path) -> AsyncIterator[Platform]:
    """Files of one folder are open."""
    (data / "open").mkdir()
    settings: dict[str, Any] = {"serving_python": stand_in(data), "file_roots": str(data / "open")}
    async with open_platform(data, is_migrated=True, **settings) as opened:
        yield opened


async def stored(platform: Platform, content: bytes) -> Piece:
    """Bytes as an upload leaves them."""
    put = await platform.resources.store.put(stream_of(content))
    async with platform.database.write() as session:
        await touch_blob(session, str(put.digest), put.size_bytes)
    return Piece(str(put.digest), put.size_bytes)


async def submitted(platform: Platform, **said: Any) -> tuple[Dataset, Operation]:
    """What the API writes for a new dataset."""
    async with platform.database.write() as session:
        return await create_dataset(session, WHO, NewDataset("people", **said))


async def ended(platform: Platform, operation: Operation, status: str) -> Operation:
    """The operation after its children, which may have to wait for their turn."""

    def is_over(found: Operation) -> bool:
        assert found.status in ("queued", "running", status), found.error
        return found.status == status

    return await platform.until_true(operation, is_over)


async def test_an_upload_is_described_and_its_first_rows_are_kept(platform: Platform) -> None:
    row, operation = await submitted(platform, pieces=[await stored(platform, CSV)], hints={"delimiter": ","})
    await platform.start(HANDLERS)
    await ended(platform, operation, "succeeded")
    found = await platform.now(row)
    assert (found.status, found.rows, found.format) == ("ready", 2, "csv")
    assert found.layout == {"format": "csv", "compression": None, "delimiter": ","}
    assert found.preview_digest is not None
    kept = b"".join([each async for each in platform.resources.store.open(Digest.parse(found.preview_digest))])
    assert json.loads(kept) == {"columns": ["age", "job"], "rows": [["41", "clerk"], ["7", ""]]}
    async with platform.database.write() as session:
        assert await doom(session, 2**62) == 0


async def test_the_parts_of_an_upload_are_put_together_first(platform: Platform) -> None:
    parts = [await stored(platform, CSV[:5]), await stored(platform, CSV[5:])]
    row, operation = await submitted(platform, pieces=parts, upload_id="upl_1")
    await platform.start(HANDLERS)
    await ended(platform, operation, "succeeded")
    found = await platform.now(row)
    assert (found.digest, found.size_bytes, found.upload_id) == (DIGEST, len(CSV), None)
    async with platform.database.read() as session:
        assert await pieces_of(session, row.id) == [Piece(DIGEST, len(CSV))]
    async with platform.database.write() as session:
        assert await doom(session, 2**62) == 2, "the parts are needed no more"


async def test_what_cannot_be_read_says_which_line_and_why(platform: Platform) -> None:
    row, operation = await submitted(platform, pieces=[await stored(platform, b"refuse\n")])
    await platform.start(HANDLERS)
    failed = await ended(platform, operation, "failed")
    assert failed.error is not None
    assert (failed.error["code"], failed.error["line"], failed.error["column"]) == ("dataset_invalid", 3, "b")
    assert failed.error["errors"] == [{"pointer": "/file", "detail": "line 3, column b: it is torn", "hint": "mend it"}]
    assert (await platform.now(row)).message == "line 3, column b: it is torn; mend it"


async def test_data_that_crash_their_reader_are_refused_as_such_and_not_as_our_error(platform: Platform) -> None:
    _, operation = await submitted(platform, pieces=[await stored(platform, b"crash\n")])
    await platform.start(HANDLERS)
    failed = await ended(platform, operation, "failed")
    assert failed.error is not None
    assert (failed.error["code"], failed.error["status"], failed.attempt) == ("description_failed", 422, 3)
    assert "signal 11" in failed.error["detail"]


async def test_a_cancel_ends_the_reader(platform: Platform) -> None:
    row, operation = await submitted(platform, pieces=[await stored(platform, b"hang\n")])
    await platform.start(HANDLERS)
    told = await platform.until_true(operation, lambda found: found.progress is not None)
    assert told.progress == {"percent": 100, "stage": "describing", "detail": "0 of 0 kB, 1 rows"}
    async with platform.database.write() as session:
        await operations.request_cancel(session, WHO, operation.id)
    await ended(platform, operation, "canceled")
    assert (await platform.now(row)).status == "failed"


async def test_who_deletes_a_dataset_ends_its_making(platform: Platform) -> None:
    row, operation = await submitted(platform, pieces=[await stored(platform, b"hang\n")])
    await platform.start(HANDLERS)
    await platform.until_true(operation, lambda found: found.progress is not None)
    async with platform.database.write() as session:
        await delete_dataset(session, WHO, await hold_dataset(session, WHO, "people"))
    await ended(platform, operation, "canceled")
    assert (await platform.now(row)).status == "deleted"


async def test_a_source_is_copied(platform: Platform) -> None:
    await platform.start(HANDLERS)
    async with open_source(CSV, cuts=[9]) as source:
        row, operation = await submitted(platform, source_uri=source.url)
        await ended(platform, operation, "succeeded")
    found = await platform.now(row)
    assert (found.status, found.digest, found.rows) == ("ready", DIGEST, 2)
    assert source.ranges_asked == [None, "bytes=9-"]


@pytest.mark.parametrize(
    "point", ["put_before_rename", "blob_before_touch", "blob_before_version", "before_effect", "after_effect"]
)
async def test_a_creation_that_fails_at_any_step_goes_on(platform: Platform, point: str) -> None:
    async with open_source(CSV) as source:
        row, operation = await submitted(platform, source_uri=source.url)
        arm(f"{point}=raise@1")
        try:
            await platform.start(HANDLERS)
            await ended(platform, operation, "succeeded")
        finally:
            arm(None)
    assert (await platform.now(row)).digest == DIGEST


async def test_a_source_that_may_be_mended_is_fetched_anew_by_a_retry(platform: Platform) -> None:
    await platform.start(HANDLERS)
    async with open_source(b"refuse\n", CSV) as source:
        row, operation = await submitted(platform, source_uri=source.url)
        failed = await ended(platform, operation, "failed")
        assert failed.error is not None
        assert failed.error["errors"][0]["pointer"] == "/source_uri"
        async with platform.database.write() as session:
            await operations.retry(session, WHO, operation.id)
        await ended(platform, operation, "succeeded")
    assert (await platform.now(row)).digest == DIGEST


async def test_more_than_a_dataset_may_have_is_refused_while_it_comes(data: Path) -> None:
    settings: dict[str, Any] = {"max_dataset_bytes": 10, "serving_python": stand_in(data)}
    async with open_platform(data, is_migrated=True, **settings) as platform:
        await platform.start(HANDLERS)
        async with open_source(CSV, says_length=False) as source:
            _, operation = await submitted(platform, source_uri=source.url)
            failed = await ended(platform, operation, "failed")
    assert failed.error is not None
    assert (failed.error["code"], "PORTSIDE_MAX_DATASET_BYTES" in failed.error["detail"]) == ("too_large", True)


async def test_a_file_below_an_open_folder_is_copied(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "open" / "a b.csv").write_bytes(CSV)
    row, operation = await submitted(platform, source_uri=f"file://{tmp_path}/open/a%20b.csv")
    await platform.start(HANDLERS)
    await ended(platform, operation, "succeeded")
    assert (await platform.now(row)).digest == DIGEST


@pytest.mark.parametrize("name", ["out", "../secret.csv", "loop", "folder", "pipe", "no.csv", "a\x00b", "deep/out"])
async def test_nothing_leads_out_of_an_open_folder(platform: Platform, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.csv").write_bytes(CSV)
    opened = tmp_path / "open"
    (opened / "out").symlink_to(tmp_path / "secret.csv")
    (opened / "loop").symlink_to(opened / "loop")
    (opened / "folder").mkdir()
    (opened / "deep").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "out").write_bytes(CSV)
    os.mkfifo(opened / "pipe")
    _, operation = await submitted(platform, source_uri=f"file://{opened}/{name}")
    await platform.start(HANDLERS)
    failed = await ended(platform, operation, "failed")
    assert failed.error is not None
    assert failed.error["code"] == "source_refused"


async def test_a_link_that_is_put_in_place_of_a_file_is_not_followed(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_bytes(CSV)
    opened = tmp_path / "open"
    (opened / "sub").mkdir()
    (opened / "sub" / "a.csv").write_bytes(CSV)
    origin = origin_of(f"file://{opened}/sub/a.csv", None, platform.resources)
    assert isinstance(origin, FileOrigin)
    (opened / "sub").rename(opened / "former")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.csv").write_bytes(CSV)
    (opened / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exception, match="there is no file"):
        await bring(origin, platform.resources, _unheard)


async def _unheard(done: int, total: int | None) -> None:
    """Nobody asks how far it is."""


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server with one object."""
    with running_minio(tmp_path_factory.mktemp("minio")) as server:
        found = S3Server(BUCKET, access_of(server))
        yield found


@pytest.fixture
async def lake(minio: S3Server, data: Path) -> AsyncIterator[Platform]:
    """A platform with keys of its own, that has opened one folder of the bucket."""
    bucket = S3Bucket(BUCKET, minio.access, STEADY)
    for key in ("lake/people.csv", "closed/people.csv"):
        await asyncio.to_thread(bucket.put, key, CSV)
    access = minio.access
    settings: dict[str, Any] = {
        "serving_python": stand_in(data),
        "s3_endpoint": access.endpoint,
        "s3_access_key": access.access_key,
        "s3_secret_key": access.secret_key,
        "source_buckets": f"{BUCKET}/lake",
    }
    async with open_platform(data, is_migrated=True, **settings) as opened:
        await opened.start(HANDLERS)
        yield opened


async def test_an_object_is_copied_by_the_installations_keys_where_it_is_open(lake: Platform) -> None:
    row, operation = await submitted(lake, source_uri=f"s3://{BUCKET}/lake/people.csv")
    await ended(lake, operation, "succeeded")
    assert (await lake.now(row)).digest == DIGEST


async def test_what_is_not_open_to_the_installations_keys_is_refused(lake: Platform) -> None:
    _, operation = await submitted(lake, source_uri=f"s3://{BUCKET}/closed/people.csv")
    failed = await ended(lake, operation, "failed")
    assert failed.error is not None
    assert failed.error["code"] == "source_forbidden"


async def test_keys_of_its_own_open_an_object_and_are_forgotten_then(lake: Platform, minio: S3Server) -> None:
    access = minio.access
    said = {"access_key": access.access_key, "secret_key": access.secret_key}
    said |= {"endpoint": access.endpoint, "region": access.region}
    sealed = lake.resources.vault.seal(json.dumps(said), CREDENTIALS)
    uri = f"s3://{BUCKET}/closed/people.csv"
    row, operation = await submitted(lake, source_uri=uri, credential_sealed=sealed)
    await ended(lake, operation, "succeeded")
    found = await lake.now(row)
    assert (found.digest, found.credential_sealed) == (DIGEST, None)


async def test_keys_that_do_not_suffice_are_told_without_a_signature(lake: Platform, minio: S3Server) -> None:
    said = {"access_key": "nobody", "secret_key": "wrong", "endpoint": minio.access.endpoint, "region": "us-east-1"}
    sealed = lake.resources.vault.seal(json.dumps(said), CREDENTIALS)
    uri = f"s3://{BUCKET}/closed/people.csv"
    _, operation = await submitted(lake, source_uri=uri, credential_sealed=sealed)
    failed = await ended(lake, operation, "failed")
    assert failed.error is not None
    assert (failed.error["code"], failed.error["source_status"]) == ("source_refused", 403)
    assert "Signature" not in json.dumps(failed.error)


async def test_a_reference_is_described_and_pinned_to_what_is_there(platform: Platform) -> None:
    await platform.start(HANDLERS)
    async with open_source(CSV) as source:
        row, operation = await submitted(platform, source_uri=source.url, is_reference=True)
        await ended(platform, operation, "succeeded")
        found = await platform.now(row)
        assert (found.status, found.rows, found.digest, found.size_bytes) == ("ready", 2, None, len(CSV))
        assert found.source_etag == f'"{DIGEST.removeprefix("sha256:")[:8]}"'
        origin = origin_of(source.url, None, platform.resources)
        copied, _ = await bring(origin, platform.resources, _unheard, found.source_etag)
        assert str(copied.digest) == DIGEST
        assert source.asked[-1]["if-match"] == found.source_etag
        source.contents = [CSV + b"8,cook\n"]
        with pytest.raises(Exception, match="is not the file any more that was described"):
            await bring(origin, platform.resources, _unheard, found.source_etag)


async def test_a_file_is_described_where_it_is_and_pinned_to_its_last_change(
    platform: Platform, tmp_path: Path
) -> None:
    file = tmp_path / "open" / "a.csv"
    file.write_bytes(CSV)
    row, operation = await submitted(platform, source_uri=f"file://{file}", is_reference=True)
    await platform.start(HANDLERS)
    await ended(platform, operation, "succeeded")
    found = await platform.now(row)
    origin = origin_of(f"file://{file}", None, platform.resources)
    await bring(origin, platform.resources, _unheard, found.source_etag)
    file.write_bytes(CSV + b"8,cook\n")
    with pytest.raises(Exception, match="is not the file any more"):
        await bring(origin, platform.resources, _unheard, found.source_etag)


def test_only_a_nul_character_is_replaced_in_what_a_child_tells() -> None:
    told = {"nul": "a\0\0b", "backslashes": "\\u0000", "both": "\\\0", "more": "\\\\u0000"}
    assert read_answer(json.dumps(told).encode()) == {**told, "nul": "a\ufffd\ufffdb", "both": "\\\ufffd"}


def rewritten(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text("utf-8").replace(old, new), "utf-8")


async def test_of_very_many_columns_only_names_and_types_are_kept(platform: Platform) -> None:
    names = [f"c{place}" for place in range(1001)]
    more = '"nulls": 0, "min": "a", "examples": ["a"], "mean": None'
    rewritten(Path(platform.resources.settings.serving_python or ""), '"nulls": 0', more)
    text = ",".join(names).encode() + b"\n" + b",".join([b"1"] * 1001) + b"\n"
    row, operation = await submitted(platform, pieces=[await stored(platform, text)])
    await platform.start(HANDLERS)
    await ended(platform, operation, "succeeded")
    found = (await platform.now(row)).columns or []
    kept = {"name": "c1000", "type": "string", "arrow_type": "string", "nullable": True, "nulls": 0}
    assert (len(found), found[-1]) == (1001, kept)


async def test_a_link_that_comes_before_the_child_opens_the_file_is_not_described(
    platform: Platform, tmp_path: Path
) -> None:
    file, secret = tmp_path / "open" / "a.csv", tmp_path / "secret.csv"
    file.write_bytes(CSV)
    secret.write_bytes(b"password\nhunter2\n")
    describer = tmp_path / "describer"
    swap = f"import os; os.unlink({str(file)!r}); os.symlink({str(secret)!r}, {str(file)!r})\nimport json,"
    describer.write_text(describer.read_text().replace("import json,", swap, 1))
    row, operation = await submitted(platform, source_uri=f"file://{file}", is_reference=True)
    await platform.start(HANDLERS)
    await ended(platform, operation, "succeeded")
    assert [column["name"] for column in (await platform.now(row)).columns or []] == ["age", "job"]


async def test_a_root_around_the_platforms_own_folders_does_not_open_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(CSV)
    async with open_platform(tmp_path, file_roots=str(tmp_path.parent)) as opened:
        data = opened.resources.settings.data
        (data / "secret.key").write_bytes(b"k")
        for path in (data / "secret.key", Path(opened.resources.settings.artifacts.removeprefix("file://")) / "x"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"k")
            with pytest.raises(Exception, match="there is no file"):
                origin_of(f"file://{path}", None, opened.resources)


async def test_a_large_text_is_described_by_its_beginning(platform: Platform) -> None:
    await platform.start(HANDLERS)
    line = b"1234567," + b"x" * 991 + b"\n"
    content = b"age,job\n" + line * 40_000
    async with open_source(content) as source:
        row, operation = await submitted(platform, source_uri=source.url, is_reference=True)
        await wait_for(lambda: len(source.asked) > 0)
        await ended(platform, operation, "succeeded")
    found = await platform.now(row)
    assert (found.rows_are_estimated, found.size_bytes) == (True, len(content))
    assert 39_900 <= (found.rows or 0) <= 40_100
