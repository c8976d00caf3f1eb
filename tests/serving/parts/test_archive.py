"""Archives that could hurt are refused before an entry is read, and in words that say which one and why."""

import hashlib
import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.engines.base import InvalidModel
from serving.parts import archive as archives
from serving.parts.archive import MIB, Archive, opened
from tests.serving.archives import make_archive

Make = Callable[[zipfile.ZipFile], None]
MODEL = bytes(range(256)) * 40


def written(make: Make) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        make(made)
    return file.getvalue()


def refusal(content: bytes, folder: Path, use: Callable[[Archive], object] = lambda archive: None) -> InvalidModel:
    path = folder / "models.zip"
    path.write_bytes(content)
    with pytest.raises(InvalidModel) as caught, opened(path) as archive:
        use(archive)
    assert caught.value.hint
    return caught.value


def entry(name: str, *, mode: int = 0) -> Make:
    def make(made: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        made.writestr(info, MODEL)

    return make


def flagged(content: bytes, at_local: int, at_directory: int, value: bytes) -> bytes:
    """The same archive with other bytes in the header of its only entry, in both places where it has one."""
    changed = bytearray(content)
    directory = content.index(b"PK\x01\x02")
    changed[at_local : at_local + len(value)] = value
    changed[directory + at_directory : directory + at_directory + len(value)] = value
    return bytes(changed)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/etc/passwd", "no relative path"),
        ("C:/model.onnx", "no relative path"),
        ("models\\de.onnx", "no relative path"),
        ("../model.onnx", "leads out"),
        ("models/../../de.onnx", "leads out"),
        ("models/de\n.onnx", "cannot be shown"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str, words: str) -> None:
    error = refusal(written(entry(name)), tmp_path)
    assert error.code == "archive_refused"
    assert words in error.message


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK, stat.S_IFCHR, stat.S_IFSOCK])
def test_a_link_or_a_device_is_refused(tmp_path: Path, kind: int) -> None:
    error = refusal(written(entry("model.onnx", mode=kind | 0o644)), tmp_path)
    assert (error.code, "link or a device" in error.message) == ("archive_refused", True)


def test_a_folder_and_an_ordinary_file_are_not_refused(tmp_path: Path) -> None:
    path = tmp_path / "models.zip"

    def make(made: zipfile.ZipFile) -> None:
        entry("models/", mode=stat.S_IFDIR | 0o755)(made)
        entry("models/de.onnx", mode=stat.S_IFREG | 0o644)(made)

    path.write_bytes(written(make))
    with opened(path) as archive:
        assert archive.names == ("models/de.onnx",)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    def make(made: zipfile.ZipFile) -> None:
        made.writestr("de.onnx", b"one")
        made.writestr("de.onnx", b"other")

    error = refusal(written(make), tmp_path)
    assert (error.code, "twice" in error.message) == ("archive_refused", True)


@pytest.mark.parametrize("flag", [0x1, 0x41, 0x2000])
def test_an_encrypted_file_is_refused(tmp_path: Path, flag: int) -> None:
    content = flagged(written(entry("de.onnx")), 6, 8, struct.pack("<H", flag))
    error = refusal(content, tmp_path)
    assert (error.code, "encrypted" in error.message) == ("archive_refused", True)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 93])
def test_another_method_than_deflate_is_refused(tmp_path: Path, method: int) -> None:
    content = flagged(written(entry("de.onnx")), 8, 10, struct.pack("<H", method))
    error = refusal(content, tmp_path)
    assert (error.code, "method" in error.message) == ("archive_refused", True)


def test_more_entries_than_anybody_needs_are_refused(tmp_path: Path) -> None:
    def make(made: zipfile.ZipFile) -> None:
        for number in range(archives.MOST_ENTRIES + 1):
            made.writestr(f"{number}.onnx", b"")

    assert refusal(written(make), tmp_path).code == "archive_too_large"


def test_a_directory_that_lies_about_its_entries_is_counted(tmp_path: Path) -> None:
    def make(made: zipfile.ZipFile) -> None:
        for number in range(archives.MOST_ENTRIES + 1):
            made.writestr(f"{number}.onnx", b"")

    content = written(make)
    at = content.rindex(b"PK\x05\x06")
    lying = content[: at + 8] + struct.pack("<HH", 1, 1) + content[at + 12 :]
    assert refusal(lying, tmp_path).code == "archive_too_large"


def test_a_directory_of_many_megabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    content = written(entry("de.onnx"))
    at = content.rindex(b"PK\x05\x06")
    large = content[: at + 12] + struct.pack("<I", 2**31) + content[at + 16 :]
    assert refusal(large, tmp_path).code == "archive_too_large"


def test_a_file_that_unfolds_beyond_measure_is_refused(tmp_path: Path) -> None:
    content = written(lambda made: made.writestr("de.onnx", bytes(archives.HARMLESS_BYTES + 1)))
    assert len(content) < MIB
    error = refusal(content, tmp_path, lambda archive: archive.entry("de.onnx"))
    assert (error.code, "times its size" in error.message) == ("archive_too_large", True)


def test_a_file_larger_than_a_model_may_be_is_refused(tmp_path: Path) -> None:
    content = flagged(written(entry("de.onnx")), 22, 24, struct.pack("<I", 2**31))
    error = refusal(content, tmp_path, lambda archive: archive.entry("de.onnx"))
    assert (error.code, "2 GiB" in error.message) == ("archive_too_large", True)


def test_an_archive_that_is_cut_or_damaged_is_refused_as_such(tmp_path: Path) -> None:
    def use(archive: Archive) -> None:
        archive.unpack(archive.entry("de.onnx"), tmp_path / "unpacked")
        pytest.fail("the damage went unnoticed")

    whole = written(entry("de.onnx"))
    for cut in (30, len(whole) // 2, len(whole) - 1):
        assert refusal(whole[:cut], tmp_path).code == "archive_damaged"
    changed = bytearray(whole)
    changed[40] ^= 0xFF  # in the middle of the packed bytes
    assert refusal(bytes(changed), tmp_path, use).code == "archive_damaged"
    (tmp_path / "unpacked").unlink(missing_ok=True)
    shorter = flagged(whole, 22, 24, struct.pack("<I", len(MODEL) - 1))
    assert refusal(shorter, tmp_path, use).code == "archive_damaged"
    (tmp_path / "unpacked").unlink(missing_ok=True)
    longer = flagged(whole, 22, 24, struct.pack("<I", len(MODEL) + 1))
    assert refusal(longer, tmp_path, use).code == "archive_damaged"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_file_is_unpacked_and_told_where_it_lies(tmp_path: Path, method: int) -> None:
    path = make_archive(tmp_path / "models.zip", {"models/de.onnx": MODEL}, method=method)
    with opened(path) as archive:
        found = archive.entry("models/de.onnx")
        digest = archive.unpack(found, tmp_path / "de")
    assert (tmp_path / "de").read_bytes() == MODEL
    assert digest == f"sha256:{hashlib.sha256(MODEL).hexdigest()}"
    packed = path.read_bytes()[found.offset_bytes :][: found.packed_bytes]
    assert found.is_deflated is (method == zipfile.ZIP_DEFLATED)
    assert found.is_deflated or packed == MODEL
    assert found.size_bytes == len(MODEL)


def test_what_stands_before_an_archive_moves_its_files(tmp_path: Path) -> None:
    path = make_archive(tmp_path / "models.zip", {"de.onnx": MODEL}, method=zipfile.ZIP_STORED)
    moved = b"#!/bin/sh\n" + path.read_bytes()
    path.write_bytes(moved)
    with opened(path) as archive:
        found = archive.entry("de.onnx")
    assert moved[found.offset_bytes :][: found.packed_bytes] == MODEL


@pytest.mark.parametrize("lost", [1, 100])
def test_an_archive_that_lost_bytes_in_its_middle_is_damaged(tmp_path: Path, lost: int) -> None:
    whole = written(entry("de.onnx"))
    error = refusal(whole[:60] + whole[60 + lost :], tmp_path, lambda archive: archive.entry("de.onnx"))
    assert (error.code, "not where the directory has it" in error.message) == ("archive_damaged", True)


@pytest.mark.parametrize("offset", [2**32 - 2, 2**63, 2**64 - 1])
def test_a_file_that_lies_beyond_the_archive_is_damaged(tmp_path: Path, offset: int) -> None:
    whole = written(entry("de.onnx"))
    directory, end = whole.index(b"PK\x01\x02"), whole.index(b"PK\x05\x06")
    changed = bytearray(whole)
    if offset < 2**32:
        changed[directory + 42 : directory + 46] = struct.pack("<I", offset)
    else:
        extra = struct.pack("<HHQ", 1, 8, offset)
        changed[end + 12 : end + 16] = struct.pack("<I", end - directory + len(extra))
        changed[end:end] = extra
        changed[directory + 42 : directory + 46] = b"\xff" * 4
        changed[directory + 30 : directory + 32] = struct.pack("<H", len(extra))
    error = refusal(bytes(changed), tmp_path, lambda archive: archive.entry("de.onnx"))
    assert error.code == "archive_damaged"


def as_zip64(whole: bytes, *, count: int, directory_bytes: int, beside: bytes = b"") -> bytes:
    """The same archive with a zip64 record and its locator before its end; `beside` stands between the two."""
    end = whole.index(b"PK\x05\x06")
    directory = whole.index(b"PK\x01\x02")
    numbers = (44 + len(beside), 45, 45, 0, 0, count, count, directory_bytes, directory)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", *numbers) + beside
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    return whole[:end] + record + locator + whole[end:]


@pytest.mark.parametrize("beside", [b"", b"extensible data"])
@pytest.mark.parametrize(("count", "directory_bytes"), [(archives.MOST_ENTRIES + 1, 54), (1, MIB + 1)])
def test_a_zip64_archive_is_refused_before_its_directory_is_read(
    tmp_path: Path, count: int, directory_bytes: int, beside: bytes
) -> None:
    content = as_zip64(written(entry("de.onnx")), count=count, directory_bytes=directory_bytes, beside=beside)
    assert refusal(content, tmp_path).code == "archive_too_large"


def test_a_zip64_archive_of_a_usual_size_is_read(tmp_path: Path) -> None:
    whole = written(entry("de.onnx"))
    directory_bytes = whole.index(b"PK\x05\x06") - whole.index(b"PK\x01\x02")
    path = tmp_path / "models.zip"
    path.write_bytes(as_zip64(whole, count=1, directory_bytes=directory_bytes))
    with opened(path) as archive:
        assert archive.read("de.onnx", len(MODEL)) == MODEL
