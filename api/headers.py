"""The request headers that steer a call: Prefer (RFC 7240), Idempotency-Key, If-Match and If-None-Match (RFC 9110)."""

import re
from dataclasses import dataclass

from starlette.requests import Request

from core.errors import FieldProblem, InvalidField, StaleEtag

LONGEST_WAIT_S = 60
LONGEST_KEY = 255
PREFERENCE = re.compile(r"\s*([A-Za-z0-9_-]+)\s*(?:=\s*\"?([^\",;]*)\"?)?\s*(?:;[^,]*)?(?:,|$)")


@dataclass(frozen=True, slots=True)
class Prefer:
    """`wait_s` is how long the client lets us hold the answer; None where it did not say."""

    wait_s: int | None
    respond_async: bool


def read_prefer(request: Request) -> Prefer:
    """What the client prefers; what cannot be understood is ignored (RFC 7240), and a bare `wait` is the longest."""
    found = {
        name.lower(): value.strip() for name, value in PREFERENCE.findall(",".join(request.headers.getlist("prefer")))
    }
    wait = found.get("wait")
    if wait is None or not (wait == "" or wait.isdecimal()):
        return Prefer(None, "respond-async" in found)
    seconds = min(int(wait[:6]), LONGEST_WAIT_S) if wait else LONGEST_WAIT_S
    return Prefer(seconds, "respond-async" in found)


def read_idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key, bare or as a quoted string. Raises `InvalidField`."""
    given = request.headers.get("idempotency-key")
    if given is None:
        return None
    key = given.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if not 1 <= len(key) <= LONGEST_KEY or "\x00" in key:
        detail = f"an Idempotency-Key has 1 to {LONGEST_KEY} characters, this one has {len(key)}"
        raise InvalidField(detail, fields=[FieldProblem("/Idempotency-Key", detail)])
    return key


def etag(edition: int) -> str:
    """The entity tag of a row's edition."""
    return f'"{edition}"'


def names_etag(header: str, current: str, *, weak: bool) -> bool:
    """Whether a list of entity tags (or `*`) has the current one; `weak` compares as If-None-Match does."""
    tags = [tag.strip() for tag in header.split(",")]
    return "*" in tags or current in ([tag.removeprefix("W/") for tag in tags] if weak else tags)


def check_if_match(request: Request, current: str | None) -> None:
    """Raises `StaleEtag` when the client has another representation in mind; `current` is None where there is none."""
    given = request.headers.get("if-match")
    if given is not None and current is None:
        raise StaleEtag(f"If-Match names {given[:100]}, and there is no such resource; leave it out to make one")
    if given is not None and current is not None and not names_etag(given, current, weak=False):
        raise StaleEtag(
            f"If-Match names {given[:100]}, the resource is at {current} now; read it again and repeat the change",
            current_etag=current,
        )


def is_not_modified(request: Request, current: str) -> bool:
    """Whether the client has this representation already (then 304)."""
    given = request.headers.get("if-none-match")
    return given is not None and names_etag(given, current, weak=True)
