"""Datasets on a real platform, with the real descriptions: every format, by every way in, and hostile files."""

import gzip
import hashlib
import io
import json
import random
import signal
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from portside import AsyncPortside, OperationFailed, Portside
from tests.e2e.platform import RunningPlatform, none_is_left, until

CSV = b"age,job\n41,clerk\n7,\n"
TABLE = pa.table({"age": [41, 7], "job": ["clerk", None]})
WAIT = {"Prefer": "wait=60"}


def packed(table: pa.Table, how: str) -> bytes:
    sink = io.BytesIO()
    if how == "parquet":
        pq.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


FILES = {
    "csv": CSV,
    "csv.gz": gzip.compress(CSV),
    "tsv": CSV.replace(b",", b"\t"),
    "jsonl": b'{"age": 41, "job": "clerk"}\n{"age": 7, "job": null}\n',
    "parquet": packed(TABLE, "parquet"),
    "arrow": packed(TABLE, "arrow"),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with RunningPlatform.start(tmp_path_factory.mktemp("datasets")) as platform:
        yield platform


@pytest.fixture
def platform(running: RunningPlatform) -> Iterator[Portside]:
    with Portside(running.url) as opened:
        yield opened


@pytest.fixture
async def awaited(running: RunningPlatform) -> AsyncIterator[AsyncPortside]:
    async with AsyncPortside(running.url) as opened:
        yield opened


@pytest.mark.parametrize("ending", FILES)
def test_every_format_is_found_described_and_given_back(platform: Portside, ending: str, tmp_path: Path) -> None:
    name = f"people-{ending.replace('.', '-')}"
    made = platform.datasets.create(name, FILES[ending], tags=["e2e"])
    assert (made.status, made.rows, made.kind) == ("ready", 2, "table")
    assert made.columns is not None
    told = [(each["name"], each["type"], each["nulls"], each["min"], each["max"]) for each in made.columns]
    assert told == [("age", "int64", 0, 7, 41), ("job", "string", 1, "clerk", "clerk")]
    assert made.preview(1)["rows"] == [[41, "clerk"]]
    assert [each["distinct"] for each in made.all_columns()] == [2, 1]
    assert made.download(tmp_path / "back").read_bytes() == FILES[ending]
    made.delete()
    assert [each.name for each in platform.datasets.list(name=name)] == []


def test_data_that_cannot_be_read_say_where(platform: Portside) -> None:
    torn = CSV + b"8,cook,extra\n" * 3
    with pytest.raises(OperationFailed) as failed:
        platform.datasets.create("torn", torn)
    assert failed.value.code == "dataset_invalid"
    assert failed.value.operation["error"]["line"] == 4
    assert platform.datasets.get("torn").message is not None
    mended = platform.datasets.create("mended", dataset="torn", delimiter=";")
    assert (mended.status, mended.digest) == ("ready", platform.datasets.get("torn").digest)


async def test_the_same_with_await(awaited: AsyncPortside, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(CSV)
    made = await awaited.datasets.create("awaited", file, wait=False)
    made = await made.wait()
    assert (made.rows, (await made.preview())["total_rows"]) == (2, 2)
    copy = await awaited.datasets.create("copied", dataset="awaited")
    await made.delete()
    assert (await copy.download(tmp_path / "back")).read_bytes() == CSV
    assert (await copy.update(description="said")).description == "said"


async def test_an_archive_becomes_a_dataset_of_files(awaited: AsyncPortside, tmp_path: Path) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("cats/1.png", b"cat")
        archive.writestr("dogs/1.png", b"dog")
    made = await awaited.datasets.create("pictures", sink.getvalue(), kind="files")
    assert (made.status, made.files, made.size_bytes) == ("ready", 2, 6)
    await made.put_file("dogs/2.png", b"another", "image/png")
    found = [(each["path"], each["content_type"]) async for each in made.list_files("dogs/")]
    assert found == [("dogs/1.png", "image/png"), ("dogs/2.png", "image/png")]
    assert (await made.download_file("cats/1.png", tmp_path / "cat")).read_bytes() == b"cat"
    await made.delete_file("cats/1.png")
    assert (await made.reload()).files == 2


def test_parts_become_one_file(platform: Portside, tmp_path: Path) -> None:
    content = b"n,square\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(20_000))
    with httpx2.Client(base_url=platform.url, timeout=90) as http:
        upload = http.post("/api/v1/uploads", json={"size_bytes": len(content), "filename": "n.csv"}).json()["id"]
        cut = range(0, len(content), 100_000)
        for number, start in reversed(list(enumerate(cut, 1))):
            http.put(f"/api/v1/uploads/{upload}/parts/{number}", content=content[start : start + 100_000])
    made = platform.datasets.create("squares", upload=upload)
    assert (made.rows, made.digest) == (20_000, f"sha256:{hashlib.sha256(content).hexdigest()}")
    assert made.download(tmp_path / "back").read_bytes() == content


def hostile(seed: int) -> tuple[str, bytes]:
    """A good file, bent."""
    draw = random.Random(seed)
    ending = draw.choice(list(FILES))
    content = bytearray(FILES[ending])
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(content)) if content else 0
        how = draw.randrange(4)
        if how == 0:
            content = content[:at]
        elif how == 1:
            content[at:at] = draw.randbytes(draw.randint(1, 40))
        elif how == 2 and content:
            content[at] ^= 1 << draw.randrange(8)
        else:
            content[at : at + 8] = b"\xff" * 8
    return ending, bytes(content)


def test_no_bent_file_is_our_error(running: RunningPlatform) -> None:
    """Each is described, or refused with a reason: never a 5xx, never a dataset that hangs."""
    with httpx2.Client(base_url=running.url, timeout=90) as http:
        for seed in range(12):
            _, content = hostile(seed)
            answer = http.post(f"/api/v1/datasets?name=h-{seed}", content=content, headers=WAIT)
            assert answer.status_code in (201, 422), (seed, answer.status_code, answer.text)
            if answer.status_code == 422:
                assert answer.json()["detail"], seed
            for path in ("", "/preview", "/columns", "/content"):
                assert http.get(f"/api/v1/datasets/h-{seed}{path}").status_code < 500
        good = http.post("/api/v1/datasets?name=good", content=CSV, headers=WAIT)
        assert (good.status_code, good.json()["rows"]) == (201, 2)


def test_hostile_archives_are_refused(running: RunningPlatform) -> None:
    bent: dict[str, bytes] = {"text": b"hello", "cut": b"PK\x03\x04" + bytes(30)}
    for name in ("../out", "/etc/passwd", "a/../../b"):
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w") as archive:
            archive.writestr(name, b"x")
        bent[name] = sink.getvalue()
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(200_000_000))
    bent["bomb"] = sink.getvalue()
    with httpx2.Client(base_url=running.url, timeout=90) as http:
        for number, (name, content) in enumerate(bent.items()):
            path = f"/api/v1/datasets?name=a-{number}&kind=files"
            answer = http.post(path, content=content, headers=WAIT)
            assert answer.status_code == 422, (name, answer.text)
            assert json.loads(answer.text)["code"] == "dataset_invalid", (name, answer.text)


def test_a_platform_that_is_killed_while_it_makes_a_dataset_makes_it_when_it_is_back(tmp_path: Path) -> None:
    lines = b"".join(b"%d,%d\n" % (n, n * n) for n in range(300_000))
    with RunningPlatform.start(tmp_path) as platform, httpx2.Client(base_url=platform.url, timeout=90) as http:
        accepted = http.post("/api/v1/datasets?name=squares", content=b"n,square\n" + lines)
        assert accepted.status_code == 202, accepted.text
        family = platform.family()
        platform.send(signal.SIGKILL)
        platform.process.communicate(timeout=60)
    assert until(lambda: none_is_left(family), 60, "the end of the children")
    with RunningPlatform.start(tmp_path) as again, Portside(again.url) as client:
        client.operations.get(accepted.json()["id"]).wait(120)
        assert client.datasets.get("squares").rows == 300_000
