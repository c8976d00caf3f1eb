"""The one byte range that a download asks for (RFC 9110, section 14); several at once are answered whole."""

import re

from starlette.requests import Request

from storage.base import ByteRange, RangeNotSatisfiable

RANGE = re.compile(r"bytes=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*")


def read_range(request: Request, size_bytes: int, etag: str) -> ByteRange | None:
    """The range with its end inside the file; None for the whole. Raises `RangeNotSatisfiable`."""
    match = RANGE.fullmatch(request.headers.get("range", ""))
    condition = request.headers.get("if-range")
    if match is None or match.group(1, 2) == ("", "") or (condition is not None and condition.strip() != etag):
        return None  # what cannot be understood is ignored
    first, last = match.group(1, 2)
    if not first:
        length = min(int(last), size_bytes)
        if length == 0:
            raise RangeNotSatisfiable(ByteRange(size_bytes), size_bytes)
        return ByteRange(size_bytes - length, size_bytes)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size_bytes:
        raise RangeNotSatisfiable(ByteRange(start), size_bytes)
    return ByteRange(start, min(int(last) + 1, size_bytes) if last else size_bytes)
