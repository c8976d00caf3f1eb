"""A row that cannot be read is told with its line, its column and the reason; the rows beside it survive."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from serving.data.formats import Column, Format
from tests.serving.data.tables import NUMBERS, chunks, rows, written

CSV = Format("csv", columns=NUMBERS)
LINES = Format("jsonl", columns=NUMBERS)


def test_a_cell_of_another_type_and_a_row_of_another_width_are_told(tmp_path: Path) -> None:
    text = 'a,b,c\n1,2.5,x\n\nseven,2,y\n3,4,"z\n!"\n5,6\n6,nix,w\n7,8,v,u\n8,,\n'
    (chunk,) = chunks(written(tmp_path, text), CSV)
    assert [(bad.row, bad.line, bad.column) for bad in chunk.bad] == [
        (1, 4, "a"),
        (3, 7, None),
        (4, 8, "b"),
        (5, 9, None),
    ]
    assert "'seven' is not a whole number" in chunk.bad[0].reason
    assert "2 cells" in chunk.bad[1].reason
    assert chunk.bad[0].text == "seven,2,y"
    assert chunk.row_numbers is not None
    assert chunk.row_numbers.tolist() == [0, 2, 6]
    assert rows([chunk])[1:] == [{"a": 3, "b": 4.0, "c": "z\n!"}, {"a": 8, "b": None, "c": None}]


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        ("99999999999999999999,1,x", "too large"),
        ("1,1,\udcff", "not UTF-8"),
        ("1,1,x,\udcff", "both"),
    ],
)
def test_what_no_pattern_sees_is_found_by_halving(tmp_path: Path, cells: str, what: str) -> None:
    lines = [f"{number},{number}.5,t" for number in range(1000)]
    lines[617] = cells
    text = "\n".join(["a,b,c", *lines, ""]).encode("utf-8", "surrogateescape")
    (chunk,) = chunks(written(tmp_path, text), CSV)
    assert [(bad.row, bad.line) for bad in chunk.bad] == [(617, 619)]
    assert chunk.bad[0].reason, what
    assert chunk.bad[0].column == {"too large": "a", "not UTF-8": "c", "both": None}[what]
    assert [row["a"] for row in rows([chunk])] == [number for number in range(1000) if number != 617]


def test_cells_that_the_reader_takes_are_good_beside_bad_ones_too(tmp_path: Path) -> None:
    taken = [" 1, 2.5 ,x", "0x1F,inf,x", "-2,-Infinity,x", "3,.5,x", "4,5.,x", "5,1e999,x", "6,+7E-2,x", '"7","8","x"']
    alone = rows(chunks(written(tmp_path, "\n".join(["a,b,c", *taken])), CSV))
    beside = chunks(written(tmp_path, "\n".join(["a,b,c", *taken, "bad,1,x"])), CSV)
    assert rows(beside) == alone
    assert len(alone) == len(taken)


def test_a_chunk_of_nothing_but_bad_rows_is_empty(tmp_path: Path) -> None:
    (chunk,) = chunks(written(tmp_path, "a,b,c\nx,y,z\nx,y\n"), CSV)
    assert (chunk.rows_in, len(chunk.table), len(chunk.bad)) == (2, 0, 2)
    assert chunk.table.schema.types == [pa.int64(), pa.float64(), pa.string()]


def test_only_the_columns_that_are_asked_for_can_be_bad(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,c\nx,2,z\n1,3,z\n")
    (chunk,) = chunks(path, CSV, columns=["c", "b"])
    assert (chunk.table.column_names, chunk.bad) == (["c", "b"], ())


def test_times_and_truths_are_told_in_words(tmp_path: Path) -> None:
    columns = (Column("t", "timestamp", "timestamp[s]"), Column("d", "date"), Column("o", "bool"))
    text = (
        "t,d,o\n2026-01-01 10:00:00,2026-01-01,true\n2026-13-01 10:00:00,2026-01-01,true\nx,2026-01-01,0\n,y,1\n,,z\n"
    )
    (chunk,) = chunks(written(tmp_path, text), Format("csv", columns=columns))
    assert [(bad.line, bad.column) for bad in chunk.bad] == [(3, "t"), (4, "t"), (5, "d"), (6, "o")]


def test_lines_of_json_are_told_likewise(tmp_path: Path) -> None:
    lines = [
        '{"a": 1, "b": 2, "c": "x", "d": [1]}',
        '{"a": "1"}',
        "",
        "[1]",
        '{"b": 1e3}',
        '{"a": 99999999999999999999}',
        '{"a": 1',
        '{"a": null, "c": "ü"}',
    ]
    (chunk,) = chunks(written(tmp_path, "\n".join(lines), "t.jsonl"), LINES)
    assert [(bad.line, bad.column) for bad in chunk.bad] == [(2, "a"), (4, None), (6, None), (7, None)]
    assert chunk.row_numbers is not None
    assert chunk.row_numbers.tolist() == [0, 3, 6]
    assert rows([chunk])[1:] == [{"a": None, "b": 1000.0, "c": None}, {"a": None, "b": None, "c": "ü"}]


def test_a_compressed_and_transcoded_text_has_the_same_rows_wherever_it_is_resumed(tmp_path: Path) -> None:
    text = "a,b,c\n" + "".join(f"{number},{number / 4},ü\n" for number in range(5000))
    plain = rows(chunks(written(tmp_path, text), CSV))
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        name = "utf-8" if encoding == "utf-8-sig" else encoding
        for compression, content in ((None, text.encode(encoding)), ("gzip", gzip.compress(text.encode(encoding)))):
            format = Format("csv", compression, encoding=name, columns=NUMBERS)  # type: ignore[arg-type]
            path = written(tmp_path, content)
            found = chunks(path, format, 700)
            assert rows(found) == plain
            assert rows(chunks(path, format, 700, found[2].next)) == plain[2100:]
