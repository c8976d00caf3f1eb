"""Rows end where pyarrow's own parser ends them, whatever quotes and line ends there are, and however blocks fall."""

import random
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv

from serving.data import cutting, text_pieces
from serving.data.cutting import Dialect
from serving.data.formats import Column, DatasetInvalid, Format, Position
from tests.serving.data.tables import chunks, rows, written

TEXTS = (Column("a", "string"), Column("b", "string"))
FORMAT = Format("csv", has_header=False, columns=TEXTS)
CELLS = ("1", "", "x y", '"q"', '"a,b"', '"a\nb"', '"a\r\nb"', '"say ""hi"""', '""', 'in"side', '"a"b', '5"', '"a"b"')
ENDS = ("\n", "\n", "\n", "\r\n", "\r", "\n\n", "\n\r\n")


def table_of(draw: random.Random, ends: tuple[str, ...], cells: tuple[str, ...]) -> bytes:
    lines = [f"{draw.choice(cells)},{draw.choice(cells)}{draw.choice(ends)}" for _ in range(draw.randrange(1, 40))]
    return "".join(lines).encode()


def by_pyarrow(text: bytes) -> list[dict[str, object]]:
    table = csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(use_threads=False, column_names=["a", "b"]),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types={"a": pa.string(), "b": pa.string()}, strings_can_be_null=True, null_values=[""]
        ),
    )
    found: list[dict[str, object]] = table.to_pylist()
    return found


@pytest.mark.parametrize("seed", range(20))
def test_rows_are_those_of_pyarrow_in_chunks_of_any_size(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    ends = ENDS if seed % 3 else ENDS[:1]
    cells = CELLS if seed % 2 else CELLS[:3]
    text = table_of(draw, ends, cells)
    monkeypatch.setattr(cutting, "SLICE_BYTES", draw.choice((1, 7, 64, 100, 2**18)))
    monkeypatch.setattr(text_pieces, "SMALLEST_BLOCK_BYTES", draw.randrange(8, 60))
    monkeypatch.setattr(text_pieces, "FIRST_BLOCK_BYTES", draw.randrange(8, 60))
    expected = by_pyarrow(text)
    path = written(tmp_path, text)
    format = Format("csv", has_header=False, columns=TEXTS, null_values=("",))
    for size in (1, 3, 1000):
        found = chunks(path, format, size)
        assert rows(found) == expected
        assert [chunk.rows_in for chunk in found[:-1]] == [size] * (len(found) - 1)
        assert not any(chunk.bad for chunk in found)
        for chunk in found[: 3 if size < 1000 else 0]:
            again = chunks(path, format, size, chunk.next)
            assert rows(again) == expected[chunk.next.row :]
            assert [each.ordinal for each in again] == [each.ordinal for each in found[chunk.ordinal + 1 :]]


def test_a_position_tells_the_line_where_a_chunk_begins(tmp_path: Path) -> None:
    path = written(tmp_path, 'x,y\n1,"a\nb"\n\n2,c\r\n3,d\n')
    found = chunks(path, Format("csv", columns=TEXTS), 1)
    assert [chunk.next.line for chunk in found] == [5, 6, 7]
    assert [chunk.next.row for chunk in found] == [1, 2, 3]


def test_a_later_file_may_repeat_the_header_or_leave_it_out(tmp_path: Path) -> None:
    files = [
        written(tmp_path, "x,y\n1,a\n2,b\n", "1.csv"),
        written(tmp_path, "3,c\n", "2.csv"),
        written(tmp_path, "x,y\r\n4,d", "3.csv"),
    ]
    found = chunks(files, Format("csv", columns=TEXTS), 2)
    assert [row["a"] for row in rows(found)] == ["1", "2", "3", "4"]
    assert [chunk.first_row for chunk in found] == [0, 2, 3]
    assert rows(chunks(files, Format("csv", columns=TEXTS), 2, Position(1, 2, 1))) == rows(found[1:])


def test_a_row_that_never_ends_is_refused_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_pieces, "LONGEST_ROW_BYTES", 2**20)
    path = written(tmp_path, b'1,2\n3,4\n5,"' + b"x" * 2**22)
    with pytest.raises(DatasetInvalid, match="line 3 has no end") as caught:
        chunks(path, FORMAT, 2)
    assert caught.value.line == 3
    assert "quote" in caught.value.hint


def test_a_text_without_quoting_keeps_its_quotes(tmp_path: Path) -> None:
    path = written(tmp_path, '"a,b\nc,"d\n')
    found = chunks(path, Format("csv", quote=None, has_header=False, columns=TEXTS))
    assert rows(found) == [{"a": '"a', "b": "b"}, {"a": "c", "b": '"d'}]


def test_many_rows_are_cut_by_counting(tmp_path: Path) -> None:
    text = b"".join(b"%d,%d\n" % (number, number) for number in range(200_000))
    dialect = Dialect(",", '"')
    cut = dialect.cut(memoryview(text), 150_000, is_last=False)
    assert (cut.rows, text[cut.end :].split(b",")[0]) == (150_000, b"150000")
    assert dialect.cut(memoryview(text + b"1,"), 10**9, is_last=False).end == len(text)
