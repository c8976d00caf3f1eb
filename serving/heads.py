"""What a request asks for beside its body, read from its target and headers, and what is refused by these alone."""

import importlib.metadata
from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl, unquote_to_bytes

from serving.forms import FIELDS
from serving.media import ARROW_FAMILY, LINES
from serving.messages import Request
from serving.problems import FieldError, Problem, pointer_token
from serving.spellings import is_json

_JSON, _ANY = b"application/json", b"*/*"
_PLAIN_ANSWERS = (_ANY, _JSON)
# Headers that may say that a body is not JSON.
_TELLING = frozenset({b"content-type", b"content-encoding", b"inference-header-content-length"})
_OTHER_KINDS = (
    b"multipart/", b"image/", b"audio/", b"video/", b"text/csv", b"text/tab-separated-values", ARROW_FAMILY.encode(),
    *(kind.encode() for kind in LINES),
)  # fmt: skip


def path_of(target: bytes) -> bytes:
    """The decoded path of a request target: without query, scheme and authority."""
    path = target.partition(b"?")[0]
    if not path.startswith(b"/") and b"://" in path:
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
    return unquote_to_bytes(path) if b"%" in path else path


def package_version() -> str:
    try:
        return importlib.metadata.version("portside")
    except importlib.metadata.PackageNotFoundError:
        return "0"  # run from a copy that nobody installed


def loading() -> Problem:
    return Problem(503, "model_loading", "the model is still being loaded", headers={"retry-after": "1"})


def bearer(token: str | None) -> bytes | None:
    """The Authorization header that proves a token; `None` where there is none to prove."""
    return None if token is None else f"Bearer {token}".encode()


def token_problem() -> Problem:
    headers = {"www-authenticate": "Bearer"}
    return Problem(401, "unauthenticated", "this replica answers its gateway only", headers=headers)


def method_problem(request: Request, handlers: Collection[bytes]) -> Problem:
    allowed = [method.decode() for method in handlers]
    allow = ", ".join([*allowed, "HEAD"] if "GET" in allowed else allowed)
    detail = f"{request.method.decode('ascii', 'replace')} is not allowed here"
    return Problem(405, "method_not_allowed", detail, hint=f"use {allow}", headers={"allow": allow})


def keeps_going(target: bytes) -> bool:
    """Whether `?on_error=record` asks for the answers of the other records. Nothing else may be asked and ignored."""
    # As text: of bytes, `parse_qsl` takes none that are no ASCII once they are read.
    given = parse_qsl(target.partition(b"?")[2].decode("latin-1"), keep_blank_values=True)
    names = [name[:80] for name, _ in given if name != "on_error"]
    if names:
        errors = [FieldError(f"/{pointer_token(name)}", f"there is no query parameter {name!r}") for name in names[:20]]
        raise Problem(422, "unknown_field", f"{errors[0].detail}; leave it out", errors=errors)
    values = {value for _, value in given}
    if not values <= {"record", "fail"} or len(given) > 1:
        error = FieldError("/on_error", "is not one of: fail, record", "`record` answers the records that are right")
        raise Problem(422, "invalid_field", f"on_error {error.detail}", errors=[error])
    return values == {"record"}


def is_plain(headers: Mapping[bytes, bytes], *, may_be_coded: bool = False) -> bool:
    """Whether this is JSON that wants JSON and no more, as most requests are; others are looked at more closely.

    `may_be_coded` lets pass what takes the answer in a coding, too.
    """
    return (
        headers.get(b"content-type", _JSON) == _JSON
        and headers.get(b"accept", _ANY) in _PLAIN_ANSWERS
        and b"content-encoding" not in headers
        and (may_be_coded or b"accept-encoding" not in headers)
        and b"inference-header-content-length" not in headers
    )


def may_be_small(request: Request) -> bool:
    """Whether the body is all that is to be read: it does not inflate, and no query makes it take ten times as long."""
    return b"?" not in request.target and b"content-encoding" not in request.headers


def is_other_content(headers: Mapping[bytes, bytes]) -> bool:
    """Whether the body may be anything but plain JSON. Many clients say what their library says by default."""
    if headers.keys().isdisjoint(_TELLING):
        return False
    kind = headers.get(b"content-type", b"").lower()
    return kind.startswith(_OTHER_KINDS) or len(headers.keys() & _TELLING) > (1 if kind else 0)


def may_be_fields(request: Request) -> bool:
    """Whether the body is a web page's form; what curl calls so is mostly JSON."""
    kind = request.headers.get(b"content-type", b"")
    return kind[:33].lower() == FIELDS.encode() and not is_json(request.body)


def refuse_tensors(headers: Mapping[bytes, bytes]) -> None:
    if b"inference-header-content-length" in headers:
        detail, hint = "binary tensors are not read here", "they go to /v2/models/…/infer"
        raise Problem(415, "unsupported_media_type", detail, hint=hint)


def refuse_other_body(request: Request) -> None:
    refuse_tensors(request.headers)
    refuse_other_content(request.headers)


def refuse_other_content(headers: Mapping[bytes, bytes]) -> None:
    """The tensor protocol reads JSON and binary tensors only."""
    content_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if content_type.startswith(_OTHER_KINDS):
        shown = content_type.decode("ascii", "replace")[:80]
        raise Problem(415, "unsupported_media_type", f"{shown} is not read here", hint="send application/json")
