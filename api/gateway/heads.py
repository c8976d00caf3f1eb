"""What the gateway reads of a request's head: how long it may take, its id, its length."""

import re
from collections.abc import Iterable
from typing import Final

from api.gateway.connection import Header
from core.errors import InvalidField, TooLarge
from core.ids import new_id

DEFAULT_TIMEOUT_S: Final = 60.0
MAX_TIMEOUT_S: Final = 3600.0
LONGEST_ID: Final = 80
DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
UNIT_S: Final = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0}


def timeout_s(headers: Iterable[Header]) -> float:
    """How long the answer may take. Raises `InvalidField`."""
    for name, value in headers:
        if name == b"portside-timeout":
            found = DURATION.fullmatch(value.decode("latin-1").strip())
            seconds = float(found.group(1)) * UNIT_S[found.group(2)] if found else 0.0
            if not 0 < seconds <= MAX_TIMEOUT_S:
                raise InvalidField("Portside-Timeout is a duration such as 30s, 500ms or 2m, up to one hour")
            return seconds
    return DEFAULT_TIMEOUT_S


def request_id_of(headers: Iterable[Header]) -> bytes:
    """The id that the client gave the request if it can be printed, else a new one."""
    for name, value in headers:
        if (
            name == b"x-request-id"
            and 0 < len(value) <= LONGEST_ID
            and value.isascii()
            and value.decode().isprintable()
        ):
            found: bytes = value
            return found
    return new_id("req").encode()


def check_length(headers: Iterable[Header], max_bytes: int) -> None:
    """Raises `TooLarge` for a body that is announced to be larger than allowed."""
    for name, value in headers:
        # Without its leading zeros: Python reads no number of more than 4,300 digits.
        if name == b"content-length" and value.isdigit() and int(value.lstrip(b"0")[:20] or b"0") > max_bytes:
            raise TooLarge(f"a prediction body may have {max_bytes} bytes", limit_bytes=max_bytes)
