"""A prediction's body that is kept for later: JSON is checked here, rows and forms are the model server's to read."""

import hashlib
import json
from dataclasses import dataclass
from email.message import Message
from typing import Final, TypeVar

from fastapi import Request
from pydantic import BaseModel

from api.validation import read_body
from core.errors import UnsupportedMediaType

AS_IT_CAME: Final = ("text/csv", "text/tab-separated-values", "multipart/form-data")
FIELDS: Final = "application/x-www-form-urlencoded"
Shape = TypeVar("Shape", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Raw:
    """A body that is no JSON, with its content type."""

    data: bytes
    content_type: str

    @property
    def sha256(self) -> str:
        """What tells it from another one. A form's boundary does not: a client draws it anew for each try."""
        message = Message()
        message["content-type"] = self.content_type
        boundary = message.get_boundary("").encode("utf-8", "replace")
        kind = [(name, value) for name, value in message.get_params([]) if name != "boundary"]
        data = self.data.replace(boundary, b"") if boundary else self.data
        return hashlib.sha256(json.dumps(sorted(kind)).encode() + data).hexdigest()


async def read_given(request: Request, shape: type[Shape]) -> Shape | Raw:
    """Read it. Raises what is wrong with it as JSON, and `UnsupportedMediaType`."""
    given = request.headers.get("content-type", "")
    message = Message()
    message["content-type"] = given or "application/json"
    kind = message.get_content_type()
    if kind in AS_IT_CAME:
        return Raw(await request.body(), given)
    if kind == FIELDS:
        body = await request.body()
        if body.lstrip()[:1] not in (b"{", b"[", b""):  # curl -d says so of JSON, too
            return Raw(body, given)
    elif kind != "application/json" and not kind.endswith("+json"):
        detail = f"a prediction's body is JSON, CSV or a form, not '{given[:100]}'"
        raise UnsupportedMediaType(f"{detail}; send Content-Type: application/json")
    return read_body(await request.json(), shape)
