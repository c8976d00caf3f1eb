"""The talk with the platform: reports on one pipe, acknowledgements on another, a line of JSON each."""

import os
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

_LONGEST_LINE: Final = 64 * 1024


class Reports:
    """Writes reports; from one thread only, so that lines stay whole."""

    def __init__(self, fd: int) -> None:
        self._fd, self._encode = fd, msgspec.json.Encoder().encode

    def tell(self, kind: str, report: Mapping[str, object] | None = None) -> None:
        """Write one report. Raises `OSError` where nobody reads any more."""
        line = memoryview(self._encode({"type": kind, **(report or {})}) + b"\n")
        while line:
            line = line[os.write(self._fd, line) :]


def acknowledged(fd: int) -> Iterator[int]:
    """The numbers of the chunks that the platform has kept, until it closes the pipe."""
    rest = b""
    while data := os.read(fd, _LONGEST_LINE):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.strip():
                yield msgspec.json.decode(line, type=_Ack).chunk


class _Ack(msgspec.Struct):
    chunk: int
