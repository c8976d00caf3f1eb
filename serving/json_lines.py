"""Lines of JSON, a record in each (JSON Lines, NDJSON), in and out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from serving.json_text import parse
from serving.problems import Problem, invalid_input

MOST_DAMAGED = 1000  # lines that are no JSON: where they are more, the body is something else


@dataclass(frozen=True, slots=True)
class Lines:
    """A record per line. `damaged` has what is wrong with those that are no JSON, which are empty in `records`."""

    records: list[object]
    damaged: Mapping[int, Problem] = field(default_factory=dict)

    def chosen(self, some: Sequence[int]) -> list[object]:
        """These records. Raises `Problem` 422 where one is no JSON."""
        for at, index in enumerate(some if self.damaged else ()):
            if index in self.damaged:
                problem = self.damaged[index]
                detail = problem.detail.replace("the body", "the line", 1)
                raise invalid_input(f"/inputs/{at}", detail, problem.hint)
        return self.records if len(some) == len(self.records) else [self.records[index] for index in some]

    def shown(self) -> list[object]:
        """All records, a damaged one as nothing."""
        return self.records


def read_lines(body: bytes) -> Lines:
    """Read a body; blank lines are none. Raises `Problem` 422 where nothing else is there, 400 where little is JSON."""
    try:
        records: list[object] = msgspec.json.Decoder().decode_lines(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_singly(body)
    if not records:
        raise invalid_input("/inputs", "has no lines", "send a record in each line")
    return Lines(records)


def _read_singly(body: bytes) -> Lines:
    records: list[object] = []
    damaged: dict[int, Problem] = {}
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        try:
            records.append(parse(line))
        except Problem as problem:
            damaged[len(records)] = problem
            records.append(None)
            if len(damaged) > MOST_DAMAGED:
                raise
    return Lines(records, damaged)
