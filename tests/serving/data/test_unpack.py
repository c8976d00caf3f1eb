"""Archives get into a folder member by member; one that could hurt leaves nothing behind."""

import gzip
import hashlib
import io
import json
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from serving.data import unpack as module
from serving.data.unpack import Folder, Unpacking, unpack
from serving.engines.base import InvalidModel
from tests.serving.data.tables import written

FILES = {"a.txt": b"one", "deep/er/b.bin": bytes(1000), "deep/ü.txt": b""}


def zipped(files: dict[str, bytes], mode: int = 0) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return sink.getvalue()


def tarred(files: dict[str, bytes], change: Callable[[tarfile.TarInfo], None] | None = None) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if change is not None:
                change(info)
            archive.addfile(info, io.BytesIO(content) if info.size else None)
    return sink.getvalue()


def zstd(content: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(content, asbytes=True)
    return packed


def unpacked(folder: Path, content: bytes, most_files: int = 100, most_bytes: int = 10**7) -> list[Unpacking]:
    found: list[Unpacking] = []
    unpack(written(folder, content, "archive"), Folder(folder / "files", most_files, most_bytes, found.append))
    return found


def refusal(folder: Path, content: bytes, most_files: int = 100, most_bytes: int = 10**7) -> InvalidModel:
    with pytest.raises(InvalidModel) as caught:
        unpacked(folder, content, most_files, most_bytes)
    assert caught.value.hint
    assert not list((folder / "files").iterdir())
    assert [each.name for each in folder.iterdir() if each.name not in ("archive", "files")] == []
    return caught.value


@pytest.mark.parametrize(
    "content",
    [zipped(FILES), tarred(FILES), gzip.compress(tarred(FILES)), zstd(tarred(FILES))],
    ids=["zip", "tar", "tar.gz", "tar.zst"],  # in the bytes of some there is the time
)
def test_archives_are_unpacked_with_digests(tmp_path: Path, content: bytes) -> None:
    found = unpacked(tmp_path, content)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
    assert {each.path: (each.size, each.sha256) for each in found} == {
        name: (len(data), digests[name]) for name, data in FILES.items()
    }
    assert {name: (tmp_path / "files" / name).read_bytes() for name in FILES} == FILES


def test_a_tar_as_tar_makes_it_is_unpacked(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "in").mkdir(parents=True)
    (source / "in" / ("n" * 200)).write_bytes(b"long")
    sink = tmp_path / "a.tar"
    with tarfile.open(sink, "w:gz") as archive:
        archive.add(source, ".")
    assert [each.path for each in unpacked(tmp_path, sink.read_bytes())] == [f"in/{'n' * 200}"]


NAMES = ["/etc/x", "../x", "a/../../x", "a\\b", "C:x", "a\nb", "x" * 300, "/".join("abcdefgh" * 5)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_name_that_leads_elsewhere_is_refused(
    tmp_path: Path, name: str, make: Callable[[dict[str, bytes]], bytes]
) -> None:
    assert refusal(tmp_path, make({"ok.txt": b"1", name: b"2"})).code == "archive_refused"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_link_or_a_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname, info.size = kind, "/etc/passwd", 0

    error = refusal(tmp_path, tarred({"x": b""}, change))
    assert (error.code, "link" in error.message) == ("archive_refused", True)


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, zipped({"x": b"/etc"}, stat.S_IFLNK | 0o777)).code == "archive_refused"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a", "a"), ("a", "./a"), ("a", "a/b"), ("a/b", "a")])
def test_a_file_that_is_there_twice_is_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    assert refusal(tmp_path, sink.getvalue()).code == "archive_refused"


@pytest.mark.parametrize("make", [zipped, tarred])
def test_more_files_or_bytes_than_allowed_are_refused(
    tmp_path: Path, make: Callable[[dict[str, bytes]], bytes]
) -> None:
    assert (
        refusal(tmp_path, make({str(number): b"x" for number in range(20)}), most_files=19).code == "archive_too_large"
    )
    assert refusal(tmp_path, make({"a": bytes(600), "b": bytes(600)}), most_bytes=1000).code == "archive_too_large"


@pytest.mark.parametrize("pack", [lambda tar: tar, gzip.compress, zstd])
def test_what_is_cut_or_damaged_is_refused(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    content = tarred({"a": bytes(5000), "b": bytes(range(256)) * 50})
    packed = pack(content)
    assert refusal(tmp_path, packed[: len(packed) // 2]).code == "archive_damaged"
    assert refusal(tmp_path, b"this is no archive").code == "archive_damaged"


def test_a_header_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_HEADERS_BYTES", 100_000)

    def change(info: tarfile.TarInfo) -> None:
        info.pax_headers = {"comment": "x" * 10**6}

    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a")
        change(info)
        archive.addfile(info)
    assert refusal(tmp_path, gzip.compress(sink.getvalue())).code == "archive_refused"


def test_the_command_prints_a_line_for_each_file_and_why_it_refuses(tmp_path: Path) -> None:
    def run(content: bytes, folder: str) -> subprocess.CompletedProcess[bytes]:
        path = written(tmp_path, content, "x.zip")
        command = [sys.executable, "-m", "serving", "data", "unpack", str(path), str(tmp_path / folder)]
        return subprocess.run([*command, "--most-files", "3"], capture_output=True, timeout=300, check=False)

    done = run(zipped(FILES), "1")
    assert done.returncode == 0, done.stderr
    assert {json.loads(line)["path"] for line in done.stdout.splitlines()} == set(FILES)
    assert run(zipped(FILES), "1").returncode == 2  # is not empty
    done = run(zipped({**FILES, "x": b""}), "2")
    assert (done.returncode, json.loads(done.stdout)["code"]) == (65, "archive_too_large")
