"""Parquet and Arrow in chunks of so many rows, the same wherever a reading begins and whatever groups there are."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from serving.data.formats import DatasetInvalid, Format, Position
from tests.fuzz.data_files import handmade
from tests.serving.data.tables import chunks, rows, written

TABLE = pa.table({"a": list(range(1000)), "b": [f"t{number}" for number in range(1000)]})


def saved(folder: Path, format: str, table: pa.Table = TABLE, name: str = "table", group: int = 70) -> Path:
    path = folder / name
    if format == "parquet":
        parquet.write_table(table, path, row_group_size=group)
        return path
    make = ipc.new_file if format == "file" else ipc.new_stream
    with make(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=group)
    return path


def format_of(kind: str) -> Format:
    return Format("parquet" if kind == "parquet" else "arrow")


@pytest.mark.parametrize("kind", ["parquet", "file", "stream"])
@pytest.mark.parametrize("chunk_rows", [1, 64, 70, 333, 5000])
def test_chunks_are_of_one_size_and_can_be_resumed(tmp_path: Path, kind: str, chunk_rows: int) -> None:
    path = saved(tmp_path, kind)
    found = chunks(path, format_of(kind), chunk_rows)
    assert rows(found) == TABLE.to_pylist()
    assert all(chunk.rows_in == chunk_rows for chunk in found[:-1])
    assert all(chunk.table.column(0).num_chunks == 1 for chunk in found)
    for chunk in found[:: max(1, len(found) // 3)]:
        again = chunks(path, format_of(kind), chunk_rows, chunk.next)
        assert rows(again) == TABLE.to_pylist()[chunk.next.row :]
        assert [each.next for each in again] == [each.next for each in found[chunk.ordinal + 1 :]]


@pytest.mark.parametrize("kind", ["parquet", "file", "stream"])
def test_several_files_are_read_as_one_and_only_some_columns(tmp_path: Path, kind: str) -> None:
    files = [saved(tmp_path, kind, TABLE.slice(0, 500), "1"), saved(tmp_path, kind, TABLE.slice(500), "2")]
    found = chunks(files, format_of(kind), 300, columns=["b"])
    assert [chunk.rows_in for chunk in found] == [300, 200, 300, 200]
    assert rows(found) == TABLE.select(["b"]).to_pylist()
    assert rows(chunks(files, format_of(kind), 300, found[1].next)) == TABLE.slice(500).to_pylist()
    with pytest.raises(DatasetInvalid, match="no column 'z'"):
        chunks(files, format_of(kind), columns=["z"])


@pytest.mark.parametrize("kind", ["parquet", "file", "stream"])
def test_columns_come_in_the_order_in_which_they_are_asked_for(tmp_path: Path, kind: str) -> None:
    (chunk,) = chunks(saved(tmp_path, kind), format_of(kind), columns=["b", "a"])
    assert chunk.table.column_names == ["b", "a"]
    assert chunk.table.to_pylist() == TABLE.select(["b", "a"]).to_pylist()


@pytest.mark.parametrize("kind", ["parquet", "file"])
def test_columns_of_one_name_are_told_apart(tmp_path: Path, kind: str) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    path = saved(tmp_path, kind, table)
    assert rows(chunks(path, format_of(kind), columns=["a_2", "a"])) == [{"a_2": 2, "a": 1}]


@pytest.mark.parametrize("name", ["claims-a-billion.parquet", "claims-all.parquet", "claims-less.parquet"])
def test_a_footer_that_lies_is_found_out(tmp_path: Path, name: str) -> None:
    ((_, content),) = handmade(name)
    with pytest.raises(DatasetInvalid):
        chunks(written(tmp_path, content, name), Format("parquet"), 100)


def test_a_position_behind_the_end_has_no_rows(tmp_path: Path) -> None:
    path = saved(tmp_path, "parquet")
    assert chunks(path, Format("parquet"), 100, Position(10, 1000, 0, 1000)) == []
