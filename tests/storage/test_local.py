"""The directory's own side: its files, and what the file system's errors become."""

import asyncio
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from core.errors import StoreUnavailable
from storage.base import BATCH_BYTES, ArtifactStore, ByteRange
from storage.digests import Digest
from storage.local import LocalStore
from tests.storage.streams import pieces_of, repeated, standing_still

ROOT = Path(__file__).parents[2]


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def folders_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_dir()]


async def test_a_blob_is_one_read_only_file_in_its_shard(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    stored = await store.put(pieces_of(b"a model"))
    path = tmp_path / "sha256" / stored.digest.hex[:2] / stored.digest.hex
    assert store.path(stored.digest) == path
    assert files_in(tmp_path) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert path.read_bytes() == b"a model"
    await store.close()


async def test_folders_that_the_store_makes_are_private(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "data" / "artifacts")
    await store.put(pieces_of(b"a model"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders_in(tmp_path)} == {0o700}
    await store.close()


async def test_a_damaged_blob_is_mended_by_putting_it_again(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    stored = await store.put(pieces_of(b"precious"))
    store.path(stored.digest).unlink()
    store.path(stored.digest).write_bytes(b"pre")
    await store.put(pieces_of(b"precious"))
    assert store.path(stored.digest).read_bytes() == b"precious"
    await store.close()


async def test_files_that_are_no_blobs_are_not_listed(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    stored = await store.put(pieces_of(b"a model"))
    (store.path(stored.digest).parent / "README").write_text("not ours")
    assert [digest async for digest in store.list()] == [stored.digest]
    await store.close()


async def test_more_uploads_than_threads_run_side_by_side(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    reached = [asyncio.Event() for _ in range(20)]
    idle = [asyncio.create_task(store.put(standing_still(b"slow", event))) for event in reached]
    await asyncio.wait_for(asyncio.gather(*(event.wait() for event in reached)), 60)
    stored = await asyncio.wait_for(store.put(repeated(b"q" * 65_536, 32)), 60)
    assert stored.size_bytes == 2 * BATCH_BYTES
    for upload in idle:
        upload.cancel()
    await asyncio.gather(*idle, return_exceptions=True)
    assert files_in(tmp_path) == [store.path(stored.digest)]
    await store.close()


def test_a_full_disk_is_507_and_leaves_nothing(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-m", "tests.storage.fill_the_disk", tmp_path.as_uri()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert child.stdout == "507 disk_full []\n"
    assert files_in(tmp_path) == []


async def test_a_store_whose_folder_cannot_be_made_is_unavailable_in_every_call(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store: ArtifactStore = LocalStore(tmp_path / "file" / "store")
    digest = Digest("0" * 64)
    with pytest.raises(StoreUnavailable, match="folder of the artifact store cannot be used"):
        await store.put(pieces_of(b"data"))
    with pytest.raises(StoreUnavailable):
        await store.stat(digest)
    with pytest.raises(StoreUnavailable):
        await anext(store.open(digest))
    with pytest.raises(StoreUnavailable):
        await anext(store.list())
    with pytest.raises(StoreUnavailable):
        await store.delete(digest)
    with pytest.raises(StoreUnavailable) as caught:
        await store.sweep_partial(timedelta(0))
    assert isinstance(caught.value.__cause__, OSError)
    assert str(tmp_path) not in caught.value.message
    await store.close()


@pytest.mark.parametrize(("start", "stop"), [(-1, None), (3, 3), (3, 2)])
def test_a_range_that_makes_no_sense_cannot_be_written(start: int, stop: int | None) -> None:
    with pytest.raises(ValueError, match="0 <= start < stop"):
        ByteRange(start, stop)
