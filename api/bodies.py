"""A prediction's body that is kept for later: JSON is checked here, all else is the model server's to read."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from fastapi import Request
from pydantic import BaseModel

from api.media_types import read_media_type
from api.validation import read_body
from core.errors import UnsupportedMediaType

FORM: Final = "multipart/form-data"
ARROW: Final = "application/vnd.apache.arrow.stream"
LINES: Final = (
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/jsonlines",
)
AS_IT_CAME: Final = ("text/csv", "text/tab-separated-values", ARROW, *LINES, FORM)
FIELDS: Final = "application/x-www-form-urlencoded"
MOST_PARTS: Final = 10_000  # that are told apart; the model server reads no form of as many
Shape = TypeVar("Shape", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Raw:
    """A body that is no JSON, with its content type, which `read_media_type` reads."""

    data: bytes
    content_type: str

    @property
    def sha256(self) -> str:
        """What tells it from another one. A form's boundary does not: a client draws it anew for each try."""
        media = read_media_type(self.content_type)
        told = dict(media.parameters)
        boundary = told.pop("boundary", None) if media.kind == FORM else None
        pieces = [self.data] if boundary is None else _between(self.data, boundary)
        digest = hashlib.sha256(json.dumps([media.kind, sorted(told.items()), [*map(len, pieces)]]).encode())
        for piece in pieces:
            digest.update(piece)
        return digest.hexdigest()


def _between(form: bytes, boundary: str) -> Sequence[bytes]:
    """What stands between the delimiters of a form, which are whole lines (RFC 2046, 5.1.1) and else are text."""
    delimiter = rb"\r\n--" + re.escape(boundary.encode()) + rb"(?=(?:--)?[ \t]*(?:\r\n|\Z))"
    return re.split(delimiter, b"\r\n" + form, maxsplit=MOST_PARTS)


async def read_given(request: Request, shape: type[Shape]) -> Shape | Raw:
    """Read it. Raises what is wrong with it as JSON, and `UnsupportedMediaType`."""
    given = request.headers.get("content-type", "")
    kind = read_media_type(given or "application/json").kind
    _refuse_encoded(request)
    if kind in AS_IT_CAME:
        return Raw(await request.body(), given)
    if kind == FIELDS:
        body = await request.body()
        if body.lstrip()[:1] not in (b"{", b"[", b""):  # curl -d says so of JSON, too
            return Raw(body, given)
    elif kind != "application/json" and not kind.endswith("+json"):
        detail = f"a prediction's body is JSON, CSV, Arrow or a form, not '{given[:100]}'"
        raise UnsupportedMediaType(f"{detail}; send Content-Type: application/json")
    return read_body(await request.json(), shape)


def _refuse_encoded(request: Request) -> None:
    """A body is kept as it comes, without the header that says how to unpack it."""
    for encoding in request.headers.getlist("content-encoding"):
        if encoding.strip().lower() != "identity":
            raise UnsupportedMediaType(f"the content encoding {encoding[:80]!a} is not read here; send the body plain")
