"""Server-sent events as a client reads them (WHATWG HTML, 9.2.6)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """One event: its id and its data, lines joined."""

    id: str
    data: str


def messages(pieces: Iterable[str]) -> Iterator[Message | None]:
    """The events of a stream, which comes in pieces of any size; nothing (None) for a comment, a sign of life."""
    event_id, data = "", list[str]()
    for line in _lines(pieces):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line and data:
            yield Message(event_id, "\n".join(data))
            data = []
        elif line.startswith(":"):
            yield None
        elif name == "id":
            event_id = value
        elif name == "data":
            data.append(value)


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """The lines that are whole; what a broken stream leaves at its end is none."""
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        yield from (line.removesuffix("\r") for line in whole)
