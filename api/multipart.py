"""A multipart/form-data body (RFC 7578) as a stream: the bytes of its one file as they come, its text fields kept.

The parser is fed in small pieces and copies nothing but the piece in hand.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from api.nearest import hint
from core.errors import FieldProblem, Incomplete, InvalidField, MalformedBody, Rejected, TooLarge, UnknownField

FEED_BYTES: Final = 64 * 1024
FIELD_BYTES: Final = 1024 * 1024  # of all text fields together: metrics may be a page, never a data set
MOST_PARTS: Final = 64
FILE: Final = "file"
MEDIA_TYPE: Final = re.compile(r"[\w!#$&^.+-]{1,59}/[\w!#$&^.+-]{1,60}", re.ASCII)  # RFC 6838; parameters are left


@dataclass(slots=True)
class _Part:
    headers: list[tuple[bytearray, bytearray]] = field(default_factory=list)
    name: str = ""
    text: bytearray = field(default_factory=bytearray)


class Form:
    """One multipart body. Read `file_pieces` to its end, then `fields` and `filename` are complete."""

    def __init__(self, content_type: str, known: frozenset[str], file_part: str = FILE) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise MalformedBody("the Content-Type multipart/form-data names no boundary; let the client library set it")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.file_type: str | None = None
        self.has_file = False
        self._known, self._file_part = known, file_part
        self._part = _Part()
        self._parts = self._field_bytes = 0
        self._pieces: list[bytes] = []
        self._has_ended = False
        try:
            self._parser = MultipartParser(boundary, self._callbacks())  # type: ignore[arg-type]  # a TypedDict of these
        except FormParserError as error:
            raise MalformedBody(f"the boundary of the multipart body cannot be used: {error}") from error

    async def file_pieces(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The file's bytes. Raises a `Rejected` for whatever is wrong with the form, at the latest at its end."""
        async for chunk in stream:
            for piece in _cut(chunk):
                self._feed(piece)
                for part in self._pieces:
                    yield part
                self._pieces.clear()
        self._finish()

    def _feed(self, piece: bytes) -> None:
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise MalformedBody(f"the multipart body cannot be read: {error}") from error

    def _finish(self) -> None:
        if not self._has_ended:
            detail = "the multipart body ends without its closing boundary: it was cut off, or made by hand"
            pointer = f"/{self._part.name}" if self._part.name else ""
            raise Incomplete(f"{detail}; send it again", fields=[FieldProblem(pointer, detail)])
        if not self.has_file:
            name = self._file_part
            raise _invalid(name, f"the form has no part named '{name}'", f"add the file: curl -F {name}=@FILE …")

    def _callbacks(self) -> Mapping[str, object]:
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_begin": lambda: self._part.headers.append((bytearray(), bytearray())),
            "on_header_field": lambda data, start, end: self._part.headers[-1][0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._part.headers[-1][1].extend(data[start:end]),
            "on_headers_finished": self._on_headers,
            "on_part_data": self._on_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def _on_part_begin(self) -> None:
        self._part = _Part()
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise MalformedBody(f"the form has more than {MOST_PARTS} parts")

    def _on_headers(self) -> None:
        headers = {bytes(name).lower(): bytes(value) for name, value in self._part.headers}
        _, options = parse_options_header(headers.get(b"content-disposition", b""))
        name = options.get(b"name")
        if not name:
            raise MalformedBody("a part of the form has no name in its Content-Disposition")
        self._part.name = name.decode("utf-8", "replace")[:200]
        self._check_name(self._part.name)
        if self._part.name == self._file_part:
            self.has_file = True
            self.filename = file_name(options.get(b"filename", b"").decode("utf-8", "replace"))
            media_type = MEDIA_TYPE.match(headers.get(b"content-type", b"").decode("latin-1"))
            self.file_type = None if media_type is None else media_type.group().lower()

    def _check_name(self, name: str) -> None:
        if name == self._file_part and self.has_file:
            raise _invalid(name, "the form has two files", f"send one part named '{name}'")
        if name in self.fields:
            raise _invalid(name, f"the form has the field '{name}' twice", "send it once")
        if name != self._file_part and name not in self._known:
            detail = f"there is no field '{name}' here"
            raise UnknownField(
                detail, fields=[FieldProblem(f"/{name}", detail, hint(name, {self._file_part, *self._known}))]
            )

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._part.name == self._file_part:
            self._pieces.append(data[start:end])
            return
        self._field_bytes += end - start
        if self._field_bytes > FIELD_BYTES:
            detail = f"the fields of the form have more than {FIELD_BYTES} bytes together"
            raise TooLarge(detail, fields=[FieldProblem(f"/{self._part.name}", detail)], limit_bytes=FIELD_BYTES)
        self._part.text += data[start:end]

    def _on_part_end(self) -> None:
        if self._part.name == self._file_part:
            return
        try:
            text = self._part.text.decode()
        except UnicodeDecodeError as error:
            raise _invalid(self._part.name, "the field's text is not UTF-8", "send it as UTF-8") from error
        if "\x00" in text:
            raise _invalid(self._part.name, "the field has a NUL character, which cannot be stored", "leave it out")
        self.fields[self._part.name] = text

    def _on_end(self) -> None:
        self._has_ended = True


def _cut(chunk: bytes) -> Iterator[bytes]:
    if len(chunk) <= FEED_BYTES:
        yield chunk
        return
    for start in range(0, len(chunk), FEED_BYTES):
        yield chunk[start : start + FEED_BYTES]


def file_name(given: str) -> str | None:
    """The last part of the name, for people to read; it never becomes a path."""
    name = given.replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in name if character.isprintable())[:200] or None


def _invalid(name: str, detail: str, what_next: str) -> Rejected:
    return InvalidField(f"{detail}; {what_next}", fields=[FieldProblem(f"/{name}", detail, what_next)])
