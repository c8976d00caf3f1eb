"""What the process of a batch run reports, a JSON object a line; the platform's words for it. Pure."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from core.errors import PlatformError

MOST = 2**53  # that JSON keeps exactly


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
        told: dict[str, Any] = _storable(json.loads(line))
        return _READERS[told["type"]](told)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BrokenReport(f"the run's process reports {line[:200]!r} ({type(error).__name__}: {error})") from error


def _storable(told: Any) -> Any:
    """Without what JSON may say and PostgreSQL does not keep, for names and cells have it: NUL, and halves of
    characters."""
    text = json.dumps(told, ensure_ascii=False).encode(errors="replace")
    return json.loads(text.replace(b"\\u0000", b"\\ufffd"))


def _started(told: Mapping[str, Any]) -> Report:
    columns = [dict(column) for column in told.get("columns") or ()]
    rows, chunk_rows = told.get("rows"), told.get("chunk_rows")
    return Started(None if rows is None else _count(rows), columns, None if chunk_rows is None else _count(chunk_rows))


def _chunk(told: Mapping[str, Any]) -> Report:
    return ChunkDone(
        chunk=_count(told["chunk"]),
        first_row=_count(told["first_row"]),
        rows_in=_count(told["rows_in"]),
        rows_out=_count(told["rows_out"]),
        bad=_count(told["bad"]),
        file=_plain(told["file"]),
        bad_file=None if told.get("bad_file") is None else _plain(told["bad_file"]),
        next=dict(told["next"]),
        seconds={str(stage): _seconds(took_s) for stage, took_s in (told.get("seconds") or {}).items()},
    )


def _finished(told: Mapping[str, Any]) -> Report:
    return Finished(*(_count(told[name]) for name in ("rows_in", "rows_out", "bad", "chunks")))


def _count(told: object) -> int:
    """A number of rows or chunks, as a column of the database holds it."""
    if not isinstance(told, int) or not 0 <= told <= MOST:
        raise ValueError(f"{told!r:.100} is no count")
    return told


def _seconds(told: float) -> float:
    took_s = float(told)
    if not 0 <= took_s < math.inf:
        raise ValueError(f"{took_s} are no seconds")
    return took_s


def _plain(name: str) -> str:
    """The name of a file in the folder that the process was given, and of none elsewhere."""
    if PurePath(name).name != name or name in ("", ".", ".."):
        raise ValueError(f"{name!r} is no plain name")
    return name


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Report]] = {
    "started": _started,
    "chunk": _chunk,
    "progress": lambda told: Rows(_count(told["rows"])),
    "finished": _finished,
    "failed": lambda told: GaveUp(dict(told["problem"])),
    "paused": lambda told: Paused(),
}
