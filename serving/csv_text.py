"""CSV (RFC 4180) in and out: a table of texts to a checked question, and answers to a table of texts."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from serving.json_text import plain
from serving.media import CSV, TABBED
from serving.problems import Problem, invalid_input
from serving.texts import read_column
from serving.validate import Validator

TYPES = (CSV, TABBED)
DELIMITERS = ",;\t|"
# The first line that says something, quoted line ends and all, and what is quoted in it.
FIRST_LINE: Final = re.compile(r'[\r\n]*((?:[^"\r\n]+|"[^"]*(?:"|\Z))*)')
LONGEST_GUESS: Final = 64 * 1024  # characters of it that are looked at
QUOTED: Final = re.compile(r'"[^"]*(?:"|\Z)')
# Python knows a hundred more, some of which are no charsets, or refuse in ways of their own.
CHARSETS: Final = {
    "utf-8": "utf-8-sig", "utf8": "utf-8-sig", "utf-8-sig": "utf-8-sig", "us-ascii": "ascii", "ascii": "ascii",
    "latin-1": "latin-1", "latin1": "latin-1", "iso-8859-1": "latin-1", "iso-8859-15": "iso-8859-15",
    "windows-1252": "cp1252", "cp1252": "cp1252", "utf-16": "utf-16", "utf-16le": "utf-16-le", "utf-16be": "utf-16-be",
}  # fmt: skip
NO_ROWS = "send a line of names and at least one line of values"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of values in the types of the inputs that their columns feed, each as long as `columns`.

    `odd` has the texts of those rows that came with another length; they are empty in `rows`.
    """

    columns: list[str]
    rows: list[list[object]]
    odd: Mapping[int, list[str]] = field(default_factory=dict)

    def chosen(self, some: Sequence[int]) -> list[list[object]]:
        """These rows. Raises `Problem` 422 where one has not the length of the others."""
        for at, index in enumerate(some if self.odd else ()):
            if index in self.odd:
                detail = f"has {len(self.odd[index])} values where {len(self.columns)} columns are named"
                raise invalid_input(f"/inputs/{at}", detail, "quote a value that has the delimiter in it")
        return [self.rows[index] for index in some]

    def in_json(self) -> dict[str, object]:
        """The same as the JSON spelling of a table."""
        return {"columns": self.columns, "data": [self.odd.get(index, row) for index, row in enumerate(self.rows)]}


def read_table(validator: Validator, body: bytes, options: Mapping[str, str], *, is_tabbed: bool = False) -> Table:
    """Read a CSV body; `options` are the parameters of its content type (`charset`, `header=absent`).

    Raises `Problem` 400 for what is no CSV, 415 for another charset, 422 for columns that do not fit.
    """
    columns, lines = _read(validator, body, options, is_tabbed=is_tabbed)
    header = validator.header
    header.sources(columns)  # refuses what is unknown or missing
    width = len(columns)
    odd = {index: line for index, line in enumerate(lines) if len(line) != width}
    if odd:
        lines = [line for line in lines if len(line) == width]
    typed: list[list[object]] = []
    for feed, texts in zip(header.feeds(columns), zip(*lines, strict=True) if lines else [()] * width, strict=True):
        is_scalar = feed.is_place or validator.takes_scalar(feed.field.name)
        typed.append(read_column(feed.field, texts, is_scalar=is_scalar))
    rows = [list(row) for row in zip(*typed, strict=True)]
    for index in odd:  # in their order, so that each is put where it came from
        rows.insert(index, [])
    return Table(columns, rows, odd)


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


def _read(
    validator: Validator, body: bytes, options: Mapping[str, str], *, is_tabbed: bool
) -> tuple[list[str], list[list[str]]]:
    text = _decoded(body, options.get("charset", "utf-8"))
    delimiter = "\t" if is_tabbed else _delimiter(text)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
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
    known = CHARSETS.get(charset.strip().lower())
    if known is None:
        hint = "send utf-8; also read are us-ascii, iso-8859-1, iso-8859-15, windows-1252 and utf-16"
        raise Problem(415, "unsupported_media_type", f"the charset {charset[:40]!r} is not read here", hint=hint)
    try:
        return body.decode(known)
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} of the body is not {charset[:40]}"
        raise Problem(400, "malformed_csv", detail, hint="say the charset: text/csv; charset=latin-1") from error


def _delimiter(text: str) -> str:
    """The separator of the first line: a comma, unless there is none and there is another one's."""
    found = FIRST_LINE.match(text, 0, LONGEST_GUESS)
    head = QUOTED.sub("", found[1] if found else "")
    return max(DELIMITERS, key=lambda each: (head.count(each) > 0 and each == ",", head.count(each)))
