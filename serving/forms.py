"""A multipart/form-data body (RFC 7578) as one record: a part's name is that of an input or of a vector's place."""

from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from typing import cast

from serving.elements import Unfit
from serving.files import value_of
from serving.json_text import parse
from serving.problems import FieldErrors, Problem, pointer_token, shorten
from serving.texts import reader_of
from serving.validate import Question, Validator

FORM = "multipart/form-data"
MOST_PARTS = 10_000


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    is_file: bool
    is_json: bool
    data: bytes


def question_of_form(validator: Validator, body: bytes, content_type: bytes) -> Question:
    """Check a form. Raises `Problem` 400 for what is no form, 422 naming the parts that do not fit."""
    record: dict[str, object] = {}
    errors = FieldErrors()
    for part in _parts(body, content_type):
        pointer = f"/inputs/{pointer_token(part.name)}"
        if part.name in record:
            errors.add(pointer, "is given twice", "a form is one record: send JSON or CSV for several")
            continue
        try:
            record[part.name] = _value(validator, part)
        except Unfit as unfit:
            errors.add(pointer, unfit.detail, unfit.hint)
    errors.raise_if_any()
    return validator.question({"inputs": record})


def _value(validator: Validator, part: _Part) -> object:
    try:
        field = validator.header.field_of(part.name)
    except KeyError:
        return None  # refused by its name
    if part.is_json:
        return parse(part.data)
    is_place = validator.header.is_place(part.name)
    if part.is_file and not is_place:
        return value_of(part.data, field, validator.shape_of(field.name))
    try:
        text = part.data.decode()
    except UnicodeDecodeError as error:
        raise Unfit("is not UTF-8 text", "send a file as a file: curl -F name=@file") from error
    return reader_of(field, is_scalar=is_place or validator.takes_scalar(field.name))(text)


def _parts(body: bytes, content_type: bytes) -> Iterator[_Part]:
    """The form's parts. The standard library's parser keeps each byte of them (a test shows it)."""
    parser = BytesParser(policy=HTTP)
    message = parser.parsebytes(b"Content-Type: " + content_type + b"\r\n\r\n" + body)
    parts = message.get_payload()
    if not message.get_boundary() or not isinstance(parts, list) or message.defects:
        detail = "the body is not a form with the boundary that its content type names"
        raise Problem(400, "malformed_form", detail, hint="let the client set the content type: curl -F age=42")
    if len(parts) > MOST_PARTS:
        raise Problem(400, "malformed_form", f"the form has more than {MOST_PARTS} parts", hint="send JSON")
    for part in cast("list[Message]", parts):
        yield _part(part)


def _part(part: Message) -> _Part:
    name = part.get_param("name", header="content-disposition")
    if not isinstance(name, str) or part.get_content_disposition() != "form-data":
        hint = 'each part needs Content-Disposition: form-data; name="…"'
        raise Problem(400, "malformed_form", "a part of the form has no name", hint=hint)
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        raise Problem(400, "malformed_form", f"the part {shorten(name)!r} is itself a form", hint="send it flat")
    return _Part(name, part.get_filename() is not None, part.get_content_type() == "application/json", data)
