"""The runtime folder and the readiness check."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.node.sockets import NoRuntimeFolder, is_ready, open_runtime_folder, remove_folder


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        yield Path(short)


def test_two_data_folders_have_two_runtime_folders(runtime: Path, tmp_path: Path) -> None:
    one, other = open_runtime_folder(tmp_path / "a"), open_runtime_folder(tmp_path / "b")
    assert one != other
    assert one.parent == other.parent == runtime / "portside"


def test_what_a_former_life_left_is_removed(runtime: Path, tmp_path: Path) -> None:
    folder = open_runtime_folder(tmp_path)
    (folder / "left").mkdir()
    (folder / "left" / "s").touch()
    assert list(open_runtime_folder(tmp_path).iterdir()) == []
    remove_folder(folder)
    remove_folder(folder)


def test_a_folder_that_others_could_enter_is_closed(runtime: Path, tmp_path: Path) -> None:
    (runtime / "portside").mkdir()
    (runtime / "portside").chmod(0o777)
    folder = open_runtime_folder(tmp_path)
    assert folder.parent.stat().st_mode & 0o777 == folder.stat().st_mode & 0o777 == 0o700


def test_a_link_in_the_folders_place_is_refused(runtime: Path, tmp_path: Path) -> None:
    (runtime / "portside").symlink_to(tmp_path)
    with pytest.raises(NoRuntimeFolder, match="belongs to somebody else"):
        open_runtime_folder(tmp_path)


def test_a_path_that_is_too_long_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    with pytest.raises(NoRuntimeFolder, match="set XDG_RUNTIME_DIR to a shorter one"):
        open_runtime_folder(tmp_path)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
        (b"", False),
        (b"x" * 100_000, False),
    ],
    ids=["ready", "loading", "silent", "nonsense"],
)
async def test_only_a_200_is_ready(runtime: Path, answer: bytes, expected: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_unix_server(serve, runtime / "s"):
        assert await is_ready(f"unix://{runtime}/s", None, 60) is expected


async def test_nobody_and_a_server_that_hangs_are_not_ready(runtime: Path) -> None:
    assert not await is_ready(f"unix://{runtime}/s", None, 1)
    release = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    async with await asyncio.start_unix_server(hang, runtime / "s"):
        assert not await is_ready(f"unix://{runtime}/s", None, 0.05)
        release.set()
