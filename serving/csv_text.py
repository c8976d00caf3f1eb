"""CSV (RFC 4180) in and out: a table of texts to a checked question, and answers to a table of texts."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from serving.json_text import plain
from serving.problems import Problem, invalid_input
from serving.texts import read_column
from serving.validate import Validator

CSV = "text/csv"
TYPES = (CSV, "text/tab-separated-values")
DELIMITERS = ",;\t|"
NO_ROWS = "send a line of names and at least one line of values"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of values in the types of the inputs that their columns feed, each as long as `columns`."""

    columns: list[str]
    rows: list[list[object]]


def read_table(validator: Validator, body: bytes, options: Mapping[str, str]) -> Table:
    """Read a CSV body; `options` are the parameters of its content type (`charset`, `header=absent`).

    Raises `Problem` 400 for what is no CSV, 422 for columns that do not fit.
    """
    columns, lines = _read(validator, body, options)
    header = validator.header
    header.sources(columns)  # refuses what is unknown or missing
    typed: list[list[object]] = []
    for name, texts in zip(columns, zip(*lines, strict=True), strict=True):
        field = header.field_of(name, columns)
        is_scalar = header.is_place(name, columns) or validator.takes_scalar(field.name)
        typed.append(read_column(field, texts, is_scalar=is_scalar))
    return Table(columns, [list(row) for row in zip(*typed, strict=True)])


def csv_of(columns: Sequence[str], data: Sequence[Sequence[object]]) -> bytes:
    """A table as CSV with a header, lines ended by CRLF; what is missing is an empty cell."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([[_cell(value) for value in row] for row in data])
    return out.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    if isinstance(value, list | dict):
        return msgspec.json.encode(value, enc_hook=plain).decode()
    return "" if value is None else value


def _read(validator: Validator, body: bytes, options: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    text = _decoded(body, options.get("charset", "utf-8"))
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True))
    except csv.Error as error:
        raise Problem(
            400, "malformed_csv", f"the body is not CSV: {error}", hint='double the quotes: "a ""b"" c"'
        ) from error
    lines = [line for line in lines if line]
    columns = _names(validator, lines, options)
    if options.get("header", "present").lower() != "absent":
        del lines[:1]
    if not lines:
        raise invalid_input("/inputs", "has no rows", NO_ROWS)
    for index, line in enumerate(lines):
        if len(line) != len(columns):
            detail = f"has {len(line)} values where {len(columns)} columns are named"
            raise invalid_input(f"/inputs/{index}", detail, "quote a value that has the delimiter in it")
    return columns, lines


def _names(validator: Validator, lines: list[list[str]], options: Mapping[str, str]) -> list[str]:
    if options.get("header", "present").lower() != "absent":
        if not lines:
            raise invalid_input("/columns", "the body is empty", NO_ROWS)
        return [name.strip() for name in lines[0]]
    width = len(lines[0]) if lines else 0
    names = list(validator.header.names)
    if width == len(names):
        return names
    if validator.header.fills_vector([""] * width):
        return [str(index) for index in range(width)]
    known = validator.header.known()
    raise invalid_input("/columns", f"a row has {width} values; this model takes {len(names)}: {known}")


def _decoded(body: bytes, charset: str) -> str:
    try:
        return body.decode("utf-8-sig" if charset.lower() in ("utf-8", "utf8") else charset)
    except LookupError as error:
        hint = "send UTF-8"
        raise Problem(415, "unsupported_media_type", f"the charset {charset[:40]!r} is not known", hint=hint) from error
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} of the body is not {charset[:40]}"
        raise Problem(400, "malformed_csv", detail, hint="say the charset: text/csv; charset=latin-1") from error


def _delimiter(text: str) -> str:
    """The separator of the first line: a comma, unless there is none and there is another one's."""
    head = text.partition("\n")[0]
    return max(DELIMITERS, key=lambda each: (head.count(each) > 0 and each == ",", head.count(each)))
