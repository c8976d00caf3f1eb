"""The media types of predictions, and which of them a client would rather be answered in (RFC 9110, 12.5.1)."""

from collections.abc import Mapping
from typing import Final, Literal

CSV: Final = "text/csv"
TABBED: Final = "text/tab-separated-values"
ARROW: Final = "application/vnd.apache.arrow.stream"
ARROW_FAMILY: Final = "application/vnd.apache.arrow"  # a file is no stream
# JSON Lines has no registered name; these are the ones in use.
LINES: Final = (
    "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines",
    "application/jsonlines",
)  # fmt: skip

_ARROW: Final = ARROW.encode()
Kind = Literal["json", "csv", "lines", "arrow"]
_KINDS: Final[Mapping[str, Kind]] = {
    "application/json": "json",
    CSV: "csv",
    ARROW: "arrow",
    **dict.fromkeys(LINES, "lines"),
}
_EXACT: Final[Mapping[bytes, Kind]] = {name.encode(): kind for name, kind in _KINDS.items()}  # as most write them
_RANGES: Final[Mapping[str, tuple[Kind, ...]]] = {
    "*/*": ("json", "csv", "lines", "arrow"),
    "application/*": ("json", "lines", "arrow"),
    "text/*": ("csv",),
}


def may_want_other(accept: bytes) -> bool:
    """Whether a client may rather have something else than JSON, at a glance."""
    lowered = accept.lower()
    return b"csv" in lowered or b"arrow" in lowered or b"json" in lowered.replace(b"application/json", b"")


def is_arrow(headers: Mapping[bytes, bytes]) -> bool:
    """Whether this is plainly an Arrow stream that wants one."""
    if headers.get(b"content-type") != _ARROW or b"inference-header-content-length" in headers:
        return False
    return headers.get(b"accept", b"*/*") in (_ARROW, b"*/*")


def wants_arrow(headers: Mapping[bytes, bytes]) -> bool:
    """Whether Arrow may come or go: its library is loaded by the first of them, which takes long."""
    return b"arrow" in headers.get(b"content-type", b"").lower() or b"arrow" in headers.get(b"accept", b"").lower()


def kind_of(content_type: bytes) -> Kind:
    """In which of the kinds a body is asked; forms and what else there is are answered in JSON."""
    if content_type in _EXACT:
        return _EXACT[content_type]
    kind = content_type.partition(b";")[0].strip().lower().decode("ascii", "replace")
    return "csv" if kind == TABBED else _KINDS.get(kind, "json")


def preferred(accept: bytes, asked_in: Kind) -> Kind:
    """The kind that the client likes best; who likes several alike, or none of them, gets what it sent, or JSON."""
    if accept in (b"", b"*/*"):
        return asked_in
    if accept in _EXACT:
        return _EXACT[accept]
    named: dict[Kind, float] = {}
    ranged: dict[Kind, float] = {}
    for part in accept.decode("latin-1").lower().split(","):
        name, *options = (piece.strip() for piece in part.split(";"))
        quality = _quality(options)
        if name in _KINDS:
            named[_KINDS[name]] = max(quality, named.get(_KINDS[name], 0.0))
        for kind in _RANGES.get(name, ()):
            ranged[kind] = max(quality, ranged.get(kind, 0.0))
    wishes = {**ranged, **named}
    best = max(wishes.values(), default=0.0)
    liked = [kind for kind, quality in wishes.items() if quality == best > 0]
    if asked_in in liked or not liked:
        return asked_in
    return "json" if "json" in liked else liked[0]


def _quality(options: list[str]) -> float:
    for option in options:
        name, _, value = option.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return 1.0
            return quality if 0 <= quality <= 1 else 1.0
    return 1.0
