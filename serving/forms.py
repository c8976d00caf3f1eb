"""A form as one record: multipart/form-data (RFC 7578) or a web page's own, `a=1&b=2`.

A part's name is that of an input or of a vector's place.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl

from serving.elements import Unfit
from serving.json_text import parse
from serving.parameters import parameters
from serving.problems import FieldErrors, Problem, pointer_token, shorten
from serving.texts import reader_of
from serving.validate import Validator

FORM = "multipart/form-data"
FIELDS = "application/x-www-form-urlencoded"
MOST_PARTS = 10_000
LARGEST_HEAD_BYTES = 16 * 1024  # of one part
LARGEST_HEADS_BYTES = 2 * 1024 * 1024  # of all parts
UNENCODED = ("", "7bit", "8bit", "binary")
FOLD = re.compile(r"\r\n(?=[ \t])")


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    is_file: bool
    is_json: bool
    data: bytes


def read_form(validator: Validator, body: bytes, content_type: bytes) -> dict[str, object]:
    """The record that a form is. Raises `Problem` 400 for what is no form, 422 naming the parts that cannot be read."""
    return _record(validator, _parts(body, content_type))


def read_fields(validator: Validator, body: bytes) -> dict[str, object]:
    """The same of a web page's form (WHATWG URL, 5.1)."""
    try:
        given = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_PARTS)
    except ValueError as error:  # which the errors of decoding are as well
        detail = f"the form cannot be read: it is no UTF-8, or has more than {MOST_PARTS} fields"
        raise _malformed(detail, "curl --data-urlencode age=42") from error
    return _record(validator, (_Part(name, False, False, text.encode()) for name, text in given))


def _record(validator: Validator, parts: Iterable[_Part]) -> dict[str, object]:
    record: dict[str, object] = {}
    errors = FieldErrors()
    for part in parts:
        pointer = f"/inputs/{pointer_token(part.name)}"
        if part.name in record:
            errors.add(pointer, "is given twice", "a form is one record: send JSON or CSV for several")
            continue
        try:
            record[part.name] = _value(validator, part)
        except Unfit as unfit:
            errors.add(pointer, unfit.detail, unfit.hint)
    errors.raise_if_any()
    return record


def _value(validator: Validator, part: _Part) -> object:
    try:
        feed = validator.header.feed(part.name)
    except KeyError:
        return None  # refused by its name
    if part.is_json:
        try:
            return parse(part.data)
        except Problem as problem:
            raise Unfit(problem.detail.replace("the body", "the part"), problem.hint) from problem
    if part.is_file and not feed.is_place:
        return part.data  # what it means is the column's to say
    try:
        text = part.data.decode()
    except UnicodeDecodeError as error:
        raise Unfit("is not UTF-8 text", "send a file as a file: curl -F name=@file") from error
    return reader_of(feed.field, is_scalar=feed.is_place or validator.takes_scalar(feed.field.name))(text)


def _parts(body: bytes, content_type: bytes) -> Iterator[_Part]:
    """The form's parts; nothing of any is read before all are counted and their heads measured."""
    body = b"\r\n" + body  # the first delimiter begins like the others, which lets all be found quickly
    spans: list[tuple[int, int, int]] = []
    total = 0
    for begin, end in _spans(body, _boundary(content_type)):
        # From the end of the delimiter's line on: a head may be empty.
        blank = body.find(b"\r\n\r\n", begin - 2, min(end, begin + LARGEST_HEAD_BYTES + 4))
        if blank < 0:
            detail = f"a part of the form has no head of at most {LARGEST_HEAD_BYTES} bytes"
            raise _malformed(detail, "a blank line ends a part's head")
        spans.append((begin, blank, end))
        total += blank - begin
        if len(spans) > MOST_PARTS or total > LARGEST_HEADS_BYTES:
            limits = f"{MOST_PARTS} parts, {LARGEST_HEADS_BYTES} bytes of heads"
            raise _malformed(f"the form is larger than what is read: {limits}", "send JSON")
    for begin, blank, end in spans:
        yield _part(body[begin:blank], body[blank + 4 : end])


def _spans(body: bytes, boundary: bytes) -> Iterator[tuple[int, int]]:
    """Where each part begins, after its delimiter's line, and ends (RFC 2046, 5.1.1)."""
    delimiter = re.compile(rb"\r\n--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r\n|\Z)")
    begin = -1
    for found in delimiter.finditer(body):
        if begin >= 0:
            yield begin, max(begin, found.start())
        begin = found.end() + 2
        if found[1]:
            return
    detail = "the body is not a form with the boundary that its content type names"
    raise _malformed(detail, "let the client set the content type: curl -F age=42")


def _boundary(content_type: bytes) -> bytes:
    try:
        boundary = parameters(content_type.decode("latin-1")).get("boundary")
    except ValueError:
        boundary = None
    if not isinstance(boundary, str) or not 0 < len(boundary) <= 200:
        raise _malformed(
            "the content type of the form names no boundary",
            "let the client set the content type: curl -F age=42",
        )
    return boundary.encode("latin-1")


def _part(head: bytes, data: bytes) -> _Part:
    headers = _headers(head.decode("utf-8", "replace"))
    disposition, kind = (headers.get(name, "") for name in ("content-disposition", "content-type"))
    try:
        told = parameters(disposition)
    except ValueError as error:
        raise _malformed("the head of a part cannot be read", 'write it plainly: form-data; name="…"') from error
    name = told.get("name")
    if not isinstance(name, str) or disposition.partition(";")[0].strip().lower() != "form-data":
        raise _malformed("a part of the form has no name", 'each part needs Content-Disposition: form-data; name="…"')
    kind = kind.partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        raise _malformed(f"the part {shorten(name)!r} is itself a form", "send it flat")
    encoding = headers.get("content-transfer-encoding", "").strip().lower()
    if encoding not in UNENCODED:
        raise _malformed(f"the part {shorten(name)!r} is encoded as {shorten(encoding)!r}", "send it as it is")
    return _Part(name, "filename" in told, kind == "application/json", data)


def _headers(head: str) -> dict[str, str]:
    lines = (line.partition(":") for line in FOLD.sub("", head).split("\r\n"))
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _malformed(detail: str, hint: str) -> Problem:
    return Problem(400, "malformed_form", detail, hint=hint)
