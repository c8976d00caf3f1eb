"""A run: one thread cuts the input, several read, score and write chunks, and the main thread commits them in order.

Everything that happens arrives at the main thread as an event; it alone talks with the platform and decides.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Final

from serving.batch.chunks import Chunks, Done
from serving.batch.log import RunLog, told_bad
from serving.batch.plan import BatchFailed, OnError, Resume
from serving.batch.prepare import Ready
from serving.batch.talk import Reports
from serving.data.formats import BadRow
from serving.data.source import Source

_PROGRESS_S: Final = 0.5
# How long a chunk that is being written may take, and the platform to keep it, once the run is told to end.
GRACE_S: Final = 1.0
_AHEAD: Final = 4  # chunks beyond those being made that may wait for the platform
_FIRST_TOLD: Final = 5


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The platform has kept a chunk."""

    chunk: int


@dataclass(frozen=True, slots=True)
class StopAsked:
    """A signal says that the run is to end."""


@dataclass(frozen=True, slots=True)
class Made:
    """A thread is done with a chunk, or failed at it."""

    ordinal: int
    future: "Future[Done]"


@dataclass(frozen=True, slots=True)
class AllCut:
    """There is nothing more to cut before this chunk, or cutting it failed."""

    ordinal: int
    future: "Future[int]"


@dataclass(frozen=True, slots=True)
class Prepared:
    """The model is loaded and the input open, or one of these failed."""

    future: "Future[Ready]"


Event = Acknowledged | StopAsked | Made | AllCut | Prepared
Events = SimpleQueue[Event]


@dataclass(slots=True)
class Totals:
    """What was acknowledged, or is about to be."""

    rows_in: int = 0
    rows_out: int = 0
    bad: int = 0
    chunks: int = 0
    first_bad: list[BadRow] = field(default_factory=list)

    def add(self, done: Done) -> Sequence[BadRow]:
        """Count a chunk; answers which of its bad rows are among the first of all."""
        self.rows_in += done.rows_in
        self.rows_out += done.rows_out
        self.bad += done.bad
        self.chunks += 1
        new = done.first_bad[: _FIRST_TOLD - len(self.first_bad)]
        self.first_bad += new
        return new

    def check(self, on_error: OnError) -> None:
        """Raise `BatchFailed` where more rows are bad than may be."""
        if on_error.most is None or self.bad <= on_error.most:
            return
        told = "; ".join(map(told_bad, self.first_bad))
        allowed = f"{on_error.most} may be" if on_error.most else "none may be"
        raise BatchFailed(
            "too_many_bad_rows",
            f"{self.bad} rows are bad so far, and {allowed}: {told}",
            "mend them, or let the run skip bad rows (on_error)",
            bad=self.bad,
            first=[
                {"row": each.row, "line": each.line, "column": each.column, "reason": each.reason}
                for each in self.first_bad
            ],
        )


class Feeder:
    """Cuts pieces and gives each to a thread, as long as there is room for what becomes of it."""

    def __init__(self, source: Source, chunks: Chunks, parallelism: int, events: Events, first: int) -> None:
        self._source, self._chunks, self._events, self._next = source, chunks, events, first
        self._makers = ThreadPoolExecutor(parallelism, "chunk")
        self._room = threading.Semaphore(parallelism + _AHEAD)
        self._turns = threading.Semaphore(parallelism + 1)  # one that is cut waits behind those being made

    def start(self) -> None:
        """Begin, in a thread of its own."""
        cutting = ThreadPoolExecutor(1, "cut").submit(self._cut_all)
        cutting.add_done_callback(lambda future: self._events.put(AllCut(self._next, future)))

    @property
    def read_bytes(self) -> int:
        """How far the input has been read."""
        return self._source.read_bytes

    def forget(self) -> None:
        """A chunk is kept by the platform, or will never be: there is room for another."""
        self._room.release()

    def _cut_all(self) -> int:
        pieces = iter(self._source.pieces())
        while True:
            self._room.acquire()
            self._turns.acquire()
            piece = next(pieces, None)
            if piece is None or self._chunks.is_stopping:
                return self._next
            # Counted only once it has a thread: of one that has none nobody would ever hear.
            self._makers.submit(self._chunks.make, piece).add_done_callback(self._made(self._next))
            self._next += 1
            del piece

    def _made(self, ordinal: int) -> "Callable[[Future[Done]], None]":
        def made(future: "Future[Done]") -> None:
            self._turns.release()
            self._events.put(Made(ordinal, future))

        return made


class Committer:
    """Reports chunks in their order and waits until each is kept."""

    def __init__(
        self,
        reports: Reports,
        events: Events,
        chunks: Chunks,
        feeder: Feeder,
        on_error: OnError,
        resume: Resume,
        log: RunLog,
    ) -> None:
        self._reports, self._events, self._chunks, self._feeder = reports, events, chunks, feeder
        self._on_error, self._log = on_error, log
        self._totals = Totals(resume.rows_in, resume.rows_out, resume.bad, resume.chunks)
        self._next = resume.position.chunk
        self._made: dict[int, Future[Done]] = {}
        self._end: AllCut | None = None
        self._unkept: dict[int, Done] = {}
        self._rows_before, self._told_at, self._told = resume.rows_in, 0.0, (0, 0)

    def run(self) -> bool:
        """Until all is kept: true; or until the run is told to end: false. Raises what a chunk failed with."""
        deadline: float | None = None
        while True:
            event = self._wait(deadline)
            if isinstance(event, StopAsked):
                self._chunks.stop()
                deadline = deadline or time.monotonic() + GRACE_S
            elif event is not None:
                self._take(event)
            if deadline is None:
                self._tell_progress()
                if self._report_all():
                    return True
            elif self._is_quiet() or time.monotonic() >= deadline:
                return False

    def _wait(self, deadline: float | None) -> Event | None:
        left_s = _PROGRESS_S if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            return self._events.get(timeout=left_s)
        except Empty:
            return None

    def _take(self, event: Event) -> None:
        if isinstance(event, Made):
            self._made[event.ordinal] = event.future
            self._chunks.writing.discard(event.ordinal)
        elif isinstance(event, AllCut):
            self._end = event
        elif isinstance(event, Acknowledged) and (done := self._unkept.pop(event.chunk, None)) is not None:
            self._chunks.forget(done)
            self._feeder.forget()

    def _report_all(self) -> bool:
        """Report what is next in line; whether all is reported and kept. Raises what the next one failed with, but not
        before those in front of it are kept."""
        while (future := self._made.get(self._next)) is not None:
            if future.exception() is not None and self._unkept:
                return False
            self._report(future.result())
        if self._end is None or self._end.ordinal != self._next or self._unkept:
            return False
        self._end.future.result()
        totals = self._totals
        self._reports.tell(
            "finished",
            {"rows_in": totals.rows_in, "rows_out": totals.rows_out, "bad": totals.bad, "chunks": totals.chunks},
        )
        self._log.ended(totals.rows_in, totals.rows_out, totals.bad)
        return True

    def _report(self, done: Done) -> None:
        del self._made[self._next]
        first_bad = self._totals.add(done)
        self._log.at(self._totals.rows_in, self._totals.bad, first_bad)
        self._totals.check(self._on_error)
        self._unkept[done.chunk] = done
        self._next += 1
        self._reports.tell("chunk", done.as_json())

    def _is_quiet(self) -> bool:
        """While the run ends: report what was finished all the same, and see whether nothing is left to wait for."""
        while (future := self._made.get(self._next)) is not None and future.exception() is None:
            self._report(future.result())
        return not self._unkept and not self._chunks.writing

    def _tell_progress(self) -> None:
        """Also where only bytes are passed: who looks for where a resumed run goes on in a large file is not stuck."""
        rows, now = self._chunks.scored_rows, time.monotonic()
        if (rows, self._feeder.read_bytes) != self._told and now >= self._told_at + _PROGRESS_S:
            self._told_at, self._told = now, (rows, self._feeder.read_bytes)
            self._reports.tell("progress", {"rows": self._rows_before + rows})
