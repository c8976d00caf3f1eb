"""An Arrow IPC stream as a table of typed columns, without a copy where memory is laid out alike."""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from serving.arrow.arrays import Dictionaries, cells, column_of, is_foreign, is_laid_out, refusal
from serving.arrow.envelope import check_sizes, end_of_first_batch, malformed
from serving.datatypes import in_words
from serving.header import Feed
from serving.problems import FieldErrors, Problem, invalid_input, shorten
from serving.typed import TypedColumn, TypedTable
from serving.validate import Validator

MOST_COLUMNS: Final = 10_000
# Values that may be unpacked from next to nothing: a truth takes a bit, packed much less, and an object's eight bytes
# here.
MOST_CELLS: Final = 2**23


def read(validator: Validator, body: bytes) -> TypedTable:
    """See `open.read_stream`."""
    known = validator.layouts.table(body)
    return _read(validator, body) if known is None else known


def _read(validator: Validator, body: bytes) -> TypedTable:
    with damage_told():
        unpacked_bytes = check_sizes(body)
        reader = ipc.open_stream(pa.py_buffer(body), options=ipc.IpcReadOptions(use_threads=False))
        names = list(reader.schema.names)
    _check_columns(validator, names, reader.schema)
    batches, count = _batches(reader, 8 * (len(body) + unpacked_bytes), max(MOST_CELLS, len(body)))
    if not count:
        raise invalid_input("/inputs", "has no rows", "send at least one row")
    feeds = validator.header.feeds(names)
    _refuse_foreign(reader.schema, feeds, batches)
    given: list[TypedColumn] = []
    dictionaries: Dictionaries = {}
    with damage_told():
        for index, feed in enumerate(feeds):
            parts = [column_of(batch.column(index), feed.field, dictionaries) for batch in batches if batch.num_rows]
            given.append(_below_each_other(parts))
    table = TypedTable(names, given, count)
    if len(batches) == 1 and all(is_laid_out(field.type) for field in reader.schema):
        end = end_of_first_batch(body)
        if end is not None:
            validator.layouts.learn(body, table, end, validator.unseen(names, given))
    return table


@contextmanager
def damage_told() -> Iterator[None]:
    """Whatever pyarrow raises for bytes that are no stream, as a `Problem` 400."""
    try:
        yield
    except MemoryError:
        raise
    except (
        struct.error,
        pa.ArrowException,
        OSError,
        ValueError,
        ArithmeticError,
        LookupError,
        TypeError,
        NotImplementedError,
    ) as error:
        raise malformed(shorten(str(error).partition("\n")[0] or type(error).__name__, 200)) from error


def _check_columns(validator: Validator, names: Sequence[str], schema: pa.Schema) -> None:
    """Refuse what is unknown, missing or of a type that no input has, before anything is unpacked."""
    if not names:
        raise invalid_input("/columns", "names no column", f"this model takes: {validator.header.known()}")
    if len(names) > MOST_COLUMNS:
        raise Problem(413, "too_large", f"the Arrow stream has more than {MOST_COLUMNS} columns", hint="send a list")
    validator.header.sources(names)
    errors = FieldErrors()
    for index, field in enumerate(schema):
        why = refusal(field.type)
        if why is not None:
            detail = f"{shorten(field.name)!r} is of the type {shorten(str(field.type))}, {why}"
            errors.add(f"/columns/{index}", detail, "cast it to numbers, strings, or lists of them")
    errors.raise_if_any()


def _batches(reader: pa.RecordBatchReader, most_rows: int, most_cells: int) -> tuple[list[pa.RecordBatch], int]:
    """The batches, each proven to keep within its own buffers, and the number of their rows.

    Raises `Problem` 413 for more cells than may become values here: those that the body's own bytes pay for, or
    `MOST_CELLS` where it is packed.
    """
    batches, count, found = [], 0, 0
    dictionaries: set[tuple[int, ...]] = set()
    with damage_told():
        for batch in reader:
            batch.validate(full=True)
            count += batch.num_rows
            if count > most_rows:  # a bit at least is needed for each
                raise malformed("it says that it has more rows than its bytes can hold")
            found += sum(cells(column, dictionaries) for column in batch.columns)
            if found > most_cells:
                detail = f"the Arrow stream has more than {most_cells} values"
                raise Problem(413, "too_large", detail, hint="send fewer rows at a time")
            batches.append(batch)
    return batches, count


def _refuse_foreign(schema: pa.Schema, feeds: Sequence[Feed], batches: Sequence[pa.RecordBatch]) -> None:
    """Refuse columns whose type no value of their inputs has, before there is an object for each of theirs."""
    errors = FieldErrors()
    for index, (field, feed) in enumerate(zip(schema, feeds, strict=True)):
        datatype = feed.field.datatype
        if is_foreign(field.type, datatype) and any(each.column(index).null_count < each.num_rows for each in batches):
            detail = f"{shorten(field.name)!r} is of the type {shorten(str(field.type))}"
            errors.add(f"/columns/{index}", f"{detail}; it must be {in_words(datatype)} ({datatype})", "cast it")
    errors.raise_if_any()


def _below_each_other(parts: Sequence[TypedColumn]) -> TypedColumn:
    """One column of those of the batches."""
    if len(parts) == 1:
        return parts[0]
    arrays = [part.array for part in parts if part.array is not None]
    if len(arrays) < len(parts) or len({(array.dtype, array.shape[1:]) for array in arrays}) > 1:
        return TypedColumn(listed=[value for part in parts for value in part.plain()])
    missing = None
    if any(part.missing is not None for part in parts):
        masks = [
            np.zeros(len(array), np.bool_) if part.missing is None else part.missing
            for part, array in zip(parts, arrays, strict=True)
        ]
        missing = np.concatenate(masks)
    return TypedColumn(np.concatenate(arrays), missing)
