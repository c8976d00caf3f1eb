"""From a request's body to what it asks: JSON in its three spellings, lines of JSON, CSV, Arrow, a form of either
kind."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from serving import csv_text, forms, json_lines
from serving.arrow.open import read_stream
from serving.json_text import parse
from serving.media import ARROW, ARROW_FAMILY, LINES, TABBED
from serving.parameters import parameters
from serving.problems import Problem
from serving.typed import TypedTable
from serving.validate import Form, Question, Validator

Check = Callable[[Validator, Sequence[int]], Question]


@dataclass(frozen=True, slots=True)
class Asked:
    """A body that was read: `whole` checks all of it, `check` the chosen ones of its `count` records.

    `prefix` is what a pointer to one of those records begins with, before its index among the chosen.
    """

    whole: Callable[[], Question]
    count: int = 1
    check: Check | None = None  # None: it asks one thing, which cannot be taken apart
    prefix: str = "/inputs"
    form: Form = "records"  # of the answer to those that are taken apart
    in_json: Callable[[], object] | None = None  # the same spelled in JSON; None: it is


def read_body(validator: Validator, body: bytes, content_type: bytes) -> Asked:
    """Read a body by its content type. Raises `Problem` 400, 415, 422."""
    kind = content_type.partition(b";")[0].strip().lower().decode("ascii", "replace")
    if kind in csv_text.TYPES:
        options = _options(content_type)
        return _asked_by_csv(validator, csv_text.read_table(validator, body, options, is_tabbed=kind == TABBED))
    if kind == ARROW:
        return _asked_by_arrow(validator, read_stream(validator, body))
    if kind in LINES:
        return _asked_by_lines(validator, json_lines.read_lines(body))
    if kind == forms.FORM:
        return _asked_by_form(validator, forms.read_form(validator, body, content_type))
    if kind == forms.FIELDS and not is_json(body):
        return _asked_by_form(validator, forms.read_fields(validator, body))
    if kind.startswith(("multipart/", "image/", "audio/", "video/", ARROW_FAMILY)):
        hint = f"send application/json, text/csv, {LINES[0]}, {ARROW} or multipart/form-data"
        raise Problem(415, "unsupported_media_type", f"{kind[:80]} is not read here", hint=hint)
    return asked_by_json(validator, parse(body))


def asked_by_json(validator: Validator, body: object) -> Asked:
    """What a decoded JSON body asks."""

    def whole() -> Question:
        return validator.question(body)

    if not isinstance(body, dict):
        return Asked(whole)
    inputs, columns, data = body.get("inputs"), body.get("columns"), body.get("data")
    if len(body) == 1 and isinstance(inputs, list):
        return Asked(whole, len(inputs), lambda by, some: by.question({"inputs": [inputs[at] for at in some]}))
    if len(body) == 2 and isinstance(columns, list) and isinstance(data, list):

        def rows(by: Validator, some: Sequence[int]) -> Question:
            return by.question({"columns": columns, "data": [data[at] for at in some]})

        return Asked(whole, len(data), rows, "/data", "table")
    return Asked(whole)


def _asked_by_csv(validator: Validator, table: csv_text.Table) -> Asked:
    def check(by: Validator, some: Sequence[int]) -> Question:
        return by.rows("table", table.columns, table.chosen(some))

    count = len(table.rows)
    return Asked(lambda: check(validator, range(count)), count, check, form="table", in_json=table.in_json)


def _asked_by_arrow(validator: Validator, table: TypedTable) -> Asked:
    def check(by: Validator, some: Sequence[int]) -> Question:
        return by.typed(table.columns, table.chosen(some), len(some))

    def in_json() -> object:
        return _files_in_json(table.in_json())

    return Asked(lambda: check(validator, range(table.count)), table.count, check, form="table", in_json=in_json)


def _asked_by_lines(validator: Validator, lines: json_lines.Lines) -> Asked:
    def check(by: Validator, some: Sequence[int]) -> Question:
        return by.question({"inputs": lines.chosen(some)})

    count = len(lines.records)
    return Asked(lambda: check(validator, range(count)), count, check, in_json=lambda: {"inputs": lines.shown()})


def _asked_by_form(validator: Validator, record: Mapping[str, object]) -> Asked:
    def in_json() -> object:
        return {"inputs": {n: _file_in_json(v) if isinstance(v, bytes) else v for n, v in record.items()}}

    return Asked(lambda: validator.question({"inputs": record}), in_json=in_json)


def _files_in_json(value: object) -> object:
    """A JSON document with its bytes as files."""
    if isinstance(value, dict):
        return {name: _files_in_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_files_in_json(each) for each in value]
    return _file_in_json(value) if isinstance(value, bytes) else value


def _file_in_json(content: bytes) -> dict[str, str]:
    return {"$base64": base64.b64encode(content).decode()}


def is_json(body: bytes) -> bool:
    """Whether a body that is said to be a web page's form is JSON: curl -d says so of whatever it sends."""
    return body.lstrip()[:1] in (b"{", b"[", b"")


def _options(content_type: bytes) -> Mapping[str, str]:
    """The parameters of a content type. Raises `Problem` 415."""
    try:
        found = parameters(content_type.decode("latin-1"))
    except ValueError:
        found = {"": None}
    options = {name: value for name, value in found.items() if isinstance(value, str)}
    if len(options) < len(found):
        hint = "write it like text/csv; charset=utf-8; header=present"
        raise Problem(415, "unsupported_media_type", "the content type has malformed parameters", hint=hint)
    return options
