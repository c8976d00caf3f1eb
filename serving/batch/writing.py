"""A chunk's output as a file: CSV, JSON lines, Parquet or an Arrow stream, whose bytes depend on the rows alone."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
from pyarrow import compute, csv, ipc, parquet, types

from serving.batch.plan import Output
from serving.data.formats import BadRow
from serving.json_text import plain

# A vector of at most so many values is a column for each in CSV, where cells hold no lists.
WIDEST_SPLIT: Final = 64
_SUFFIXES: Final = {"gzip": ".gz", "zstd": ".zst", None: ""}
_PART: Final = ".part"
_ROWS_PER_GROUP: Final = 131_072

Write = Callable[[pa.Table, pa.NativeFile, bool], None]


def file_name(chunk: int, output: Output) -> str:
    """What the file of a chunk is called."""
    suffix = "" if output.format == "parquet" else _SUFFIXES[output.compression]
    return f"chunk-{chunk:08d}.{output.format}{suffix}"


def bad_file_name(chunk: int) -> str:
    """What the file with a chunk's bad rows is called."""
    return f"chunk-{chunk:08d}.bad.jsonl"


def forget_leftovers(folder: Path) -> None:
    """Remove what a child that ended left there: none of it was acknowledged."""
    for file in folder.glob("chunk-????????.*"):
        file.unlink(missing_ok=True)


def write_table(table: pa.Table, path: Path, output: Output, *, is_first: bool) -> None:
    """Write a chunk's rows; a file of this name is whole. Raises `OSError`."""
    part = path.with_name(path.name + _PART)
    with pa.OSFile(str(part), "wb") as file:
        if output.format == "parquet":
            _write_parquet(table, file, output)
        elif output.compression is None:
            _WRITERS[output.format](table, file, is_first)
        else:
            with pa.CompressedOutputStream(file, output.compression) as packed:
                _WRITERS[output.format](table, packed, is_first)
    _finish(part, path)


def write_bad_rows(bad: Sequence[BadRow], path: Path) -> None:
    """Write a line of JSON for each bad row. Raises `OSError`."""
    part = path.with_name(path.name + _PART)
    part.write_bytes(msgspec.json.Encoder().encode_lines(bad))
    _finish(part, path)


def schema_of(schema: pa.Schema, output: Output) -> list[tuple[str, str]]:
    """The names and types of the columns that are written."""
    empty = schema.empty_table()
    written = _without_vectors(empty).schema if output.format == "csv" else schema
    return [(field.name, str(field.type)) for field in written]


def _finish(part: Path, path: Path) -> None:
    descriptor = os.open(part, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    part.replace(path)


def _write_parquet(table: pa.Table, file: pa.NativeFile, output: Output) -> None:
    # A dictionary pays for texts, which repeat; numbers would be looked up one by one for nothing.
    texts = [field.name for field in table.schema if types.is_string(field.type) or types.is_large_string(field.type)]
    parquet.write_table(
        table,
        file,
        row_group_size=_ROWS_PER_GROUP,
        compression=output.compression or "snappy",
        use_dictionary=texts,
        write_statistics=True,
    )


def _write_arrow(table: pa.Table, file: pa.NativeFile, is_first: bool) -> None:
    del is_first  # each is a stream of its own
    with ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def _write_csv(table: pa.Table, file: pa.NativeFile, is_first: bool) -> None:
    options = csv.WriteOptions(include_header=is_first, quoting_style="needed")
    csv.write_csv(_without_nan(_without_vectors(table)), file, options)


def _write_lines(table: pa.Table, file: pa.NativeFile, is_first: bool) -> None:
    del is_first
    encoder = msgspec.json.Encoder(enc_hook=plain)
    for batch in _without_nan(table).to_batches(max_chunksize=16_384):
        names = batch.schema.names
        columns = [_plain_values(column) for column in batch.columns]
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        file.write(encoder.encode_lines(rows))


_WRITERS: Final[Mapping[str, Write]] = {"csv": _write_csv, "jsonl": _write_lines, "arrow": _write_arrow}


def _plain_values(array: pa.Array) -> Sequence[object]:
    if not array.null_count and (types.is_floating(array.type) or types.is_integer(array.type)):
        # A double of the shortest digits of a single: 0.1 and not 0.10000000149011612.
        wide = array.cast(pa.string()).cast(pa.float64()) if types.is_float32(array.type) else array
        listed: list[object] = wide.to_numpy(zero_copy_only=False).tolist()
        return listed
    values: list[object] = array.to_pylist()
    return values


def _without_nan(table: pa.Table) -> pa.Table:
    """The table with nothing where a number is none: neither CSV nor JSON has a word for it that all readers know."""
    for at, field in enumerate(table.schema):
        if not types.is_floating(field.type):
            continue
        is_number = compute.is_finite(table.column(at))
        if not compute.all(is_number, min_count=0).as_py():
            kept = compute.if_else(is_number, table.column(at), pa.scalar(None, field.type))
            table = table.set_column(at, field, kept)
    return table


def _without_vectors(table: pa.Table) -> pa.Table:
    """The table with a column for each place of a vector, or its text of JSON where it is long or of any length."""
    names: list[str] = []
    columns: list[pa.ChunkedArray] = []
    for field, column in zip(table.schema, table.columns, strict=True):
        kind = field.type
        if types.is_fixed_size_list(kind) and kind.list_size <= WIDEST_SPLIT and not types.is_nested(kind.value_type):
            names += [f"{field.name}({at})" for at in range(kind.list_size)]
            columns += [compute.list_element(column, at) for at in range(kind.list_size)]
            continue
        names.append(field.name)
        if types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind):
            texts = [None if each is None else _json(each) for each in column.to_pylist()]
            columns.append(pa.chunked_array([pa.array(texts, pa.string())], pa.string()))
        else:
            columns.append(column.cast(kind.value_type) if types.is_dictionary(kind) else column)
    return pa.Table.from_arrays(columns, names)


def _json(value: object) -> str:
    return msgspec.json.encode(value, enc_hook=plain).decode()
