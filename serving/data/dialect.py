"""The dialect of a CSV by its first rows: delimiter, quoting, whether the first row names the columns."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from serving.data.formats import DatasetInvalid, unique_names

DELIMITERS: Final = ",;\t|"
MOST_COLUMNS: Final = 10_000
_SAMPLE_ROWS: Final = 200
_LONGEST_CELL: Final = 2**27
_NUMBER: Final = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*")
_DECIMAL_COMMA: Final = re.compile(r"\s*[-+]?\d+,\d+\s*")


@dataclass(frozen=True, slots=True)
class CsvDialect:
    """How a CSV is written, and its columns' names, one of its own for each."""

    delimiter: str
    quote: str | None
    has_header: bool
    names: tuple[str, ...]
    warnings: list[str] = field(default_factory=list)


def dialect_of(
    text: str, *, is_whole: bool, delimiter: str | None, quote: str | None, has_header: bool | None
) -> CsvDialect:
    """The dialect of a text of which this is the beginning; what is given is not guessed. Raises `DatasetInvalid`."""
    _check(delimiter, quote)
    quoting = '"' if quote is None else quote or None
    samples = {each: _rows(text, each, quoting, is_whole=is_whole) for each in (delimiter or DELIMITERS)}
    chosen = delimiter or max(DELIMITERS, key=lambda each: _likeness(samples[each]))
    rows = samples[chosen]
    if not rows:
        raise DatasetInvalid("the file has nothing but empty lines", "Upload a file with at least one row.")
    if len(rows[0]) > MOST_COLUMNS:
        message = f"the first line has {len(rows[0])} columns; at most {MOST_COLUMNS} are read"
        raise DatasetInvalid(message, "Put vectors into one column of Parquet or JSON lines, as lists.", line=1)
    is_header = _names_columns(rows) if has_header is None else has_header
    warnings: list[str] = []
    given = [cell.strip() for cell in rows[0]] if is_header else [""] * len(rows[0])
    names = unique_names(given)
    renamed = [(old, new) for old, new in zip(given, names, strict=True) if old != new]
    if is_header and renamed:
        shown = ", ".join(f"{old!r} is {new!r}" for old, new in renamed[:5])
        warnings.append(f"columns without a name of their own have got one: {shown}")
    if has_header is None and not is_header:
        warnings.append("the first line looks like values, not like names: the columns are column_1, column_2, …")
    if chosen != "," and (place := _decimal_comma(rows)) is not None:
        warnings.append(f"the numbers of {names[place]!r} have a decimal comma, which is not read: they are texts")
    return CsvDialect(chosen, quoting, is_header, names, warnings)


def _check(delimiter: str | None, quote: str | None) -> None:
    """Each is one ASCII character, and neither ends a line."""
    for what, given in (("delimiter", delimiter), ("quote", quote or None)):
        if given is not None and (len(given) != 1 or not given.isascii() or given in "\r\n\0"):
            raise DatasetInvalid(f"{given[:20]!r} is no {what}", "Give one ASCII character; a tab is \\t in JSON.")
    if delimiter is not None and delimiter == ('"' if quote is None else quote):
        raise DatasetInvalid(
            f"{delimiter!r} cannot be delimiter and quote", "Give another quote, or none: an empty text."
        )


def _rows(text: str, delimiter: str, quote: str | None, *, is_whole: bool) -> list[list[str]]:
    """The first rows that are there as a whole."""
    csv.field_size_limit(_LONGEST_CELL)
    lines = io.StringIO(text, newline="")
    if quote is None:
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines, delimiter=delimiter, quotechar=quote)
    found: list[list[str]] = []
    try:
        for row in reader:
            if row:
                found.append(row)
            if len(found) > _SAMPLE_ROWS:
                break
        else:
            if not is_whole and len(found) > 1:
                found.pop()  # may be cut
    except csv.Error:
        pass  # the rows before are enough for a guess
    return found[:_SAMPLE_ROWS]


def _likeness(rows: Sequence[Sequence[str]]) -> tuple[float, int]:
    """How much these rows look like a table: how many have the commonest width, and that."""
    widths = Counter(len(row) for row in rows)
    if not widths:
        return 0.0, 0
    width, count = widths.most_common(1)[0]
    return (count / len(rows) if width > 1 else 0.0), width


def _names_columns(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row has words where the others have numbers; where there are none, whether all are words."""
    first, rest = rows[0], rows[1:]
    votes = 0
    for place, head in enumerate(first):
        cells = [row[place] for row in rest if place < len(row) and row[place].strip()]
        if cells and sum(_NUMBER.fullmatch(cell) is not None for cell in cells) * 10 >= 9 * len(cells):
            votes += -1 if _NUMBER.fullmatch(head) else 1 if head.strip() else 0
    if votes:
        return votes > 0
    words = [cell.strip() for cell in first]
    return not any(_NUMBER.fullmatch(word) for word in words) and any(words)


def _decimal_comma(rows: Sequence[Sequence[str]]) -> int | None:
    """The first column most of whose cells are numbers with a comma."""
    for place in range(len(rows[0])):
        cells = [row[place] for row in rows[1:] if place < len(row) and row[place].strip()]
        if cells and sum(_DECIMAL_COMMA.fullmatch(cell) is not None for cell in cells) * 2 > len(cells):
            return place
    return None
