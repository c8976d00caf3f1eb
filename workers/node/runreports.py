"""What the process of a batch run reports, a JSON object a line; the platform's words for it. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from core.errors import PlatformError


class BrokenReport(PlatformError):
    """A process of a run says what it must not: a bug of ours."""

    code, title = "broken_report", "The run's process reports what cannot be"


@dataclass(frozen=True, slots=True)
class Started:
    """The model is loaded and the input is open. `rows` is nothing where nobody knows beforehand."""

    rows: int | None
    columns: Sequence[Mapping[str, Any]]
    chunk_rows: int | None


@dataclass(frozen=True, slots=True)
class ChunkDone:
    """A chunk lies in a file of this name, and what it tells of bad rows in another."""

    chunk: int
    first_row: int
    rows_in: int
    rows_out: int
    bad: int
    file: str
    bad_file: str | None
    next: Mapping[str, Any]
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rows:
    """So many rows are scored, those of former processes included; some of them are in no chunk yet."""

    rows: int


@dataclass(frozen=True, slots=True)
class Finished:
    """Everything is done and acknowledged."""

    rows_in: int
    rows_out: int
    bad: int
    chunks: int


@dataclass(frozen=True, slots=True)
class GaveUp:
    """It cannot go on, as this problem says."""

    problem: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Paused:
    """It was asked to end and has."""


Report = Started | ChunkDone | Rows | Finished | GaveUp | Paused


def read_report(line: bytes) -> Report:
    """One report. Raises `BrokenReport`."""
    try:
        told: dict[str, Any] = json.loads(line)
        return _READERS[told["type"]](told)
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenReport(f"the run's process reports {line[:200]!r} ({type(error).__name__}: {error})") from error


def _started(told: Mapping[str, Any]) -> Report:
    return Started(told.get("rows"), list(told.get("columns") or ()), told.get("chunk_rows"))


def _chunk(told: Mapping[str, Any]) -> Report:
    return ChunkDone(
        chunk=int(told["chunk"]),
        first_row=int(told["first_row"]),
        rows_in=int(told["rows_in"]),
        rows_out=int(told["rows_out"]),
        bad=int(told["bad"]),
        file=_plain(told["file"]),
        bad_file=None if told.get("bad_file") is None else _plain(told["bad_file"]),
        next=dict(told["next"]),
        seconds={str(stage): float(took_s) for stage, took_s in (told.get("seconds") or {}).items()},
    )


def _finished(told: Mapping[str, Any]) -> Report:
    return Finished(*(int(told[name]) for name in ("rows_in", "rows_out", "bad", "chunks")))


def _plain(name: str) -> str:
    """The name of a file in the folder that the process was given, and of none elsewhere."""
    if PurePath(name).name != name or name in ("", ".", ".."):
        raise ValueError(f"{name!r} is no plain name")
    return name


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Report]] = {
    "started": _started,
    "chunk": _chunk,
    "progress": lambda told: Rows(int(told["rows"])),
    "finished": _finished,
    "failed": lambda told: GaveUp(dict(told["problem"])),
    "paused": lambda told: Paused(),
}
