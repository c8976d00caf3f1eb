"""Formats, encodings and dialects are found by content; what is no table is refused in words that tell what it is."""

import gzip
import io
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from serving.data.formats import DatasetInvalid
from serving.data.recognise import Recognised, Said, recognise
from tests.serving.data.tables import written

TABLE = pa.table({"a": [1, 2], "b": ["x", "y"]})


def found(folder: Path, content: bytes | str, said: Said | None = None, name: str = "") -> Recognised:
    return recognise(written(folder, content, "file"), said or Said(), name)


def arrow(is_file: bool) -> bytes:
    sink = io.BytesIO()
    with ipc.new_file(sink, TABLE.schema) if is_file else ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)
    return sink.getvalue()


def test_formats_are_found_by_their_first_bytes(tmp_path: Path) -> None:
    sink = io.BytesIO()
    parquet.write_table(TABLE, sink)
    contents = {
        "parquet": (sink.getvalue(),),
        "arrow": (arrow(is_file=True), arrow(is_file=False), gzip.compress(arrow(is_file=False))),
        "jsonl": ('{"a": 1}\n', '\n {"a": 1}\n', gzip.compress(b'{"a": 1}', mtime=0)),
        "csv": ("a,b\n1,2\n", "{a},b\n1,2\n", "\ufeffa\n1\n"),
    }
    for format, several in contents.items():
        for content in several:
            assert found(tmp_path, content).format.format == format


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_delimiter_is_the_one_that_makes_columns(tmp_path: Path, delimiter: str) -> None:
    lines = [["id", "a, b; c", "x"], ["1", "p|q, r; s", "2.5"], ["2", "t\tu, v; w", "3"]]
    text = "\n".join(delimiter.join(f'"{cell}"' if delimiter in cell else cell for cell in line) for line in lines)
    assert found(tmp_path, text).format.delimiter == delimiter


@pytest.mark.parametrize(
    ("text", "has_header"),
    [
        ("a,b\n1,2\n3,4\n", True),
        ("1,2\n3,4\n", False),
        ("name,city\nAnn,Rome\n", True),
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n", False),
        ("only\n", True),
        ("x,2019\nRome,7\nParis,8\n", False),
    ],
)
def test_a_first_row_of_names_is_a_header(tmp_path: Path, text: str, has_header: bool) -> None:
    recognised = found(tmp_path, text)
    assert recognised.format.has_header is has_header
    assert found(tmp_path, text, Said(has_header=not has_header)).format.has_header is not has_header
    if not has_header:
        assert recognised.names[0] == "column_1"
        assert "first line" in recognised.warnings[0]


def test_names_that_are_missing_or_the_same_are_told_apart(tmp_path: Path) -> None:
    recognised = found(tmp_path, "a,,a,a_2,\n1,2,3,4,5\n")
    assert recognised.names == ("a", "column_2", "a_3", "a_2", "column_5")
    assert "'a' is 'a_3'" in recognised.warnings[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_encodings_are_found(tmp_path: Path, encoding: str) -> None:
    recognised = found(tmp_path, "näme,größe\nÄnn,1\n".encode(encoding))
    assert recognised.names == ("näme", "größe")
    assert recognised.format.encoding == encoding.removesuffix("-sig")
    assert bool(recognised.warnings) is (encoding == "cp1252")


def test_a_first_line_of_megabytes_is_read_as_a_whole(tmp_path: Path) -> None:
    names = [f"{'n' * 500}{number}" for number in range(5000)]
    recognised = found(tmp_path, f"{','.join(names)}\n{','.join('1' for _ in names)}\n")
    assert recognised.names == tuple(names)


def test_a_decimal_comma_is_told(tmp_path: Path) -> None:
    assert "decimal comma" in found(tmp_path, "a;b\n1;2,5\n2;3,5\n").warnings[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\n\n  \n", "empty lines"),
        (gzip.compress(b"", mtime=0), "empty once it is unpacked"),
        (b"PK\x03\x04rest", "Excel"),
        (b"%PDF-1.7", "PDF"),
        (b"BZh91AY", "bzip2"),
        (b'[{"a": 1}, {"a": 2}]', "JSON array"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"a,b\n1,\x002\n", "NUL"),
        (b"PARE" + bytes(100) + b"PARE", "encrypted"),
        (b"a,c\n1\x00,2\n\x00,\n", "NUL"),
        (b"x" * 17 * 2**20, "line 1 has no end within 16 MiB"),
        (bytes(range(1, 32)) * 50, "no text"),
        (b"a,b\n" + b"1," * 20_000 + b"1\n", "no"),
        (",".join(map(str, range(100_000))).encode() + b"\n", "100000 columns"),
        (gzip.compress(b"a,b\n" * 9, mtime=0)[:-9], "damaged"),
    ],
)
def test_what_is_no_table_is_refused_with_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    if content.startswith(b"a,b\n1,1,"):
        assert found(tmp_path, content).names
        return
    with pytest.raises(DatasetInvalid, match=words) as caught:
        found(tmp_path, content)
    assert caught.value.hint


@pytest.mark.parametrize(
    "said",
    [
        Said(delimiter=""),
        Said(delimiter="ab"),
        Said(delimiter="\n"),
        Said(delimiter="é"),
        Said(delimiter='"'),
        Said(quote=",", delimiter=","),
        Said(encoding="klingon"),
        Said(encoding="base64"),
        Said(encoding="idna"),
        Said(format="parquet"),
        Said(compression="gzip"),
        Said(encoding="ascii\0"),
    ],
)
def test_what_is_said_wrongly_is_refused(tmp_path: Path, said: Said) -> None:
    with pytest.raises(DatasetInvalid) as caught:
        found(tmp_path, "a,b\n1,2\n", said)
    assert caught.value.hint
