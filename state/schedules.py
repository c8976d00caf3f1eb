"""When a schedule ticks: pure arithmetic over instants, and what becomes of ticks that were missed.

A tick is a nominal instant; it falls due `jitter` later. Cron is Debian's, as `cronsim` reads it: what would fall into
the hour that summer time skips ticks when that hour is over, and what falls into the hour that comes twice ticks once.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim

from core.clock import Micros, from_rfc3339, rfc3339, to_micros
from core.errors import Json

CatchUp = Literal["skip", "last", "all"]
Overlap = Literal["skip", "queue", "replace"]
INSTANTS: Final = ("at", "anchor", "start", "end")
SECOND: Final = 1_000_000
EPOCH: Final = datetime.fromtimestamp(0, UTC)
# A tick that is later than this was missed: the platform was away, and the catch-up policy says what becomes of it.
ON_TIME: Final = to_micros(timedelta(seconds=60))
MOST_CAUGHT_UP: Final = 1000
MOST_TOLD: Final = 100  # ticks skipped at once that each get a row of their own; what was before them shares one
FIRST_WINDOW: Final = to_micros(timedelta(hours=1))
# Between them, an instant has a date in every zone, its jitter included.
FIRST, LAST = from_rfc3339("0002-01-01T00:00:00Z"), from_rfc3339("9999-12-30T00:00:00Z")


@dataclass(frozen=True, slots=True)
class Schedule:
    """One of `cron` (with its zone), `every_s` (counted from `anchor`) and `at`; the rest holds for all."""

    cron: str | None = None
    time_zone: str = "UTC"
    every_s: int | None = None
    at: Micros | None = None
    anchor: Micros = 0
    start: Micros | None = None
    end: Micros | None = None
    jitter_s: int = 0
    catch_up: CatchUp = "last"
    catch_up_limit: int = 10
    overlap: Overlap = "skip"

    @classmethod
    def of(cls, kept: Mapping[str, Json]) -> Self:
        """From what a job's row keeps."""
        said: dict[str, Any] = {name: value for name, value in kept.items() if value is not None}
        said |= {name: from_rfc3339(said[name]) for name in INSTANTS if name in said}
        return cls(**said)

    def kept(self) -> dict[str, Json]:
        """For the row: instants in RFC 3339."""
        instants = {"at": self.at, "anchor": self.anchor or None, "start": self.start, "end": self.end}
        return {
            "cron": self.cron,
            "time_zone": self.time_zone,
            "every_s": self.every_s,
            "jitter_s": self.jitter_s,
            "catch_up": self.catch_up,
            "catch_up_limit": self.catch_up_limit,
            "overlap": self.overlap,
            **{name: None if instant is None else rfc3339(instant) for name, instant in instants.items()},
        }

    def ticks(self, after: Micros) -> Iterator[Micros]:
        """Its ticks later than `after`, in order, each once."""
        begin = max(after, FIRST if self.start is None else self.start - 1)
        last, end = begin, LAST if self.end is None else min(self.end, LAST)
        for tick in self._all(begin):
            if tick > end:
                return
            # Two times of day in the skipped hour mean the same instant; and cronsim, which counts local time, begins
            # before an instant of the second of two equal hours.
            if tick > last:
                last = tick
                yield tick

    def newest(self, after: Micros, until: Micros, most: int) -> list[Micros]:
        """The last `most` of its ticks later than `after` and not later than `until`, in order.

        Looks back in growing windows: nobody counts the minutes of a year in which the platform was off.
        """
        window = FIRST_WINDOW
        while True:
            begin = max(after, until - window)
            found = list(_until(self.ticks(begin), until))
            if len(found) >= most or begin == after:
                return found[-most:]
            window *= 4

    def due_at(self, job_id: str, tick: Micros) -> Micros:
        """When the tick is acted on: the same delay for a tick whoever asks, spread evenly over ticks and jobs."""
        if self.jitter_s == 0:
            return tick
        drawn = hashlib.sha256(f"{job_id} {tick}".encode()).digest()
        return tick + int.from_bytes(drawn[:8]) % (self.jitter_s * SECOND + 1)

    def _all(self, after: Micros) -> Iterator[Micros]:
        if self.at is not None:
            return iter([self.at] if self.at > after else [])
        if self.every_s is not None:
            return self._regular(after, self.every_s * SECOND)
        return self._cron(after)

    def _regular(self, after: Micros, step: int) -> Iterator[Micros]:
        number = max(0, (after - self.anchor) // step + 1)
        while True:
            yield self.anchor + number * step
            number += 1

    def _cron(self, after: Micros) -> Iterator[Micros]:
        assert self.cron is not None
        if not FIRST <= after <= LAST:
            return
        begin = (EPOCH + timedelta(microseconds=after)).astimezone(ZoneInfo(self.time_zone))
        with suppress(OverflowError):  # it looks for a date behind the last one that there is
            for moment in CronSim(self.cron, begin):
                yield (moment - EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done about the ticks up to now: `late` and `fresh` ones fire, in this order.

    `missed` are told one by one; `gap` are the first of those before them and where they end (exclusive). `decided` is
    the last tick that this is about.
    """

    late: tuple[Micros, ...] = ()
    fresh: tuple[Micros, ...] = ()
    missed: tuple[Micros, ...] = ()
    gap: tuple[Micros, Micros] | None = None
    decided: Micros | None = None


def due(schedule: Schedule, job_id: str, since: Micros, now: Micros) -> Due:
    """The ticks after `since` whose time has come by `now`, by what is to become of them."""
    kept = {"skip": 0, "last": 1, "all": schedule.catch_up_limit}[schedule.catch_up]
    found = schedule.newest(since, now, kept + MOST_TOLD + _most_fresh(schedule))
    # In order: a tick waits for the ones before it, whatever its jitter.
    ripe = list(takewhile(lambda tick: schedule.due_at(job_id, tick) <= now, found))
    if not ripe:
        return Due()
    late = list(takewhile(lambda tick: schedule.due_at(job_id, tick) < now - ON_TIME, ripe))
    fresh = ripe[len(late) :]
    if schedule.catch_up == "last" and fresh:
        kept = 0  # the one on time is the last
    edge = max(0, len(late) - kept)
    missed, caught = late[:edge], late[edge:]
    first = next(schedule.ticks(since))
    gap = (first, ripe[0]) if first < ripe[0] else None
    return Due(tuple(caught), tuple(fresh), tuple(missed), gap, ripe[-1])


def next_due(schedule: Schedule, job_id: str, since: Micros) -> Micros | None:
    """When the next tick after `since` is to be acted on; nothing when there is none."""
    tick = next(schedule.ticks(since), None)
    return None if tick is None else schedule.due_at(job_id, tick)


def upcoming(schedule: Schedule, after: Micros, count: int) -> list[Micros]:
    """The next ticks, without their jitter."""
    return list(islice(schedule.ticks(after), count))


def _most_fresh(schedule: Schedule) -> int:
    """More ticks than can be on time at once."""
    step_s = schedule.every_s or 60
    return (ON_TIME // SECOND + schedule.jitter_s) // step_s + 2


def _until(ticks: Iterator[Micros], until: Micros) -> Iterator[Micros]:
    for tick in ticks:
        if tick > until:
            return
        yield tick
