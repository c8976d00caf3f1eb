"""What a Content-Type says, read strictly: the library's parser raises what it likes on one that was made by hand."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from core.errors import UnsupportedMediaType

LONGEST: Final = 500
TYPE: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+", re.ASCII)
# RFC 9110, 5.6.6, without backslashes, which every reader takes differently; bare values have more than a token has,
# as many clients write their boundaries. A name with * (RFC 2231) says the same as one without: it is none here.
PARAMETER: Final = re.compile(r' *; *(?:([\w!#$&^.+-]+)=([^ ;"\\,<>]+|"[^"\\]*")(?= *;|$)|(?= *;|$))', re.ASCII)


@dataclass(frozen=True, slots=True)
class MediaType:
    """A type such as `text/csv` in lower case, and its parameters by their names in lower case."""

    kind: str
    parameters: Mapping[str, str]


def read_media_type(given: str) -> MediaType:
    """Read the value of a Content-Type. Raises `UnsupportedMediaType`."""
    if len(given) > LONGEST:
        raise _unreadable(given, f"it has more than {LONGEST} characters")
    if not given.isascii() or not given.isprintable():
        raise _unreadable(given, "it has characters that are not printable ASCII")
    text = given.strip()
    kind = TYPE.match(text)
    if kind is None:
        raise _unreadable(given, "it begins with no type")
    parameters: dict[str, str] = {}
    at = kind.end()
    while at < len(text):
        found = PARAMETER.match(text, at)
        if found is None:
            raise _unreadable(given, f"'{text[at : at + 60]}' is no parameter")
        at = found.end()
        if found[1] is None:
            continue
        name = found[1].lower()
        if name in parameters:
            raise _unreadable(given, f"it has the parameter '{name[:60]}' twice")
        parameters[name] = found[2].strip('"')
    return MediaType(kind.group().lower(), parameters)


def _unreadable(given: str, why: str) -> UnsupportedMediaType:
    hint = "write it plainly, such as text/csv; header=present"
    return UnsupportedMediaType(f"the Content-Type {given[:100]!a} cannot be read: {why}; {hint}")
