"""`Content-Digest` (RFC 9530): the SHA-256 that a client says of a body, held against it before it is kept."""

import base64
import binascii
import hashlib
import re
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request

from core.errors import FieldProblem, InvalidField, Rejected

NAME: Final = "Content-Digest"
MEMBER: Final = re.compile(r"\s*([a-z0-9*_.-]+)\s*=\s*:([A-Za-z0-9+/=]*):\s*(?:,|$)")


class DigestMismatch(Rejected):
    """Other bytes came than were sent."""

    code, title = "digest_mismatch", "The body has another digest than announced"


def announced_digest(request: Request) -> bytes | None:
    """The SHA-256 that is announced; nothing where none is. Other algorithms are ignored. Raises `InvalidField`."""
    given = request.headers.get(NAME)
    if given is None:
        return None
    found = {match[1]: match[2] for match in MEMBER.finditer(given)}
    if "sha-256" not in found:
        if MEMBER.match(given) is not None:
            return None
        raise _invalid(f"{NAME} cannot be read")
    try:
        digest = base64.b64decode(found["sha-256"], validate=True)
    except binascii.Error as error:
        raise _invalid(f"the sha-256 of {NAME} is no base64") from error
    if len(digest) != hashlib.sha256().digest_size:
        raise _invalid(f"the sha-256 of {NAME} has {len(digest)} bytes")
    return digest


async def verified(pieces: AsyncIterator[bytes], announced: bytes | None) -> AsyncIterator[bytes]:
    """The pieces as they come. Raises `DigestMismatch` behind the last one."""
    hasher = hashlib.sha256()
    async for piece in pieces:
        if announced is not None:
            hasher.update(piece)
        yield piece
    if announced is not None and hasher.digest() != announced:
        detail = f"the body has another SHA-256 than {NAME} says: it was changed on its way"
        raise DigestMismatch(f"{detail}; send it again", fields=[FieldProblem(f"/{NAME}", detail, "send it again")])


def _invalid(detail: str) -> InvalidField:
    hint = "write it as sha-256=:BASE64:"
    return InvalidField(f"{detail}; {hint}", fields=[FieldProblem(f"/{NAME}", detail, hint)])
