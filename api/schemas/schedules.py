"""Schedules of jobs and their ticks: what a request may say, and how they are shown."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from api.schemas.base import Answer, Body, Instant, one_of, shown_as
from api.schemas.quantities import read_duration
from api.schemas.webhooks import Time
from core.clock import Micros, from_rfc3339, now_micros, rfc3339
from core.errors import Json
from state.documents import instant
from state.jobtables import Job, Tick
from state.schedules import EPOCH, MOST_CAUGHT_UP, CatchUp, Overlap, Schedule, upcoming

SHOWN_TICKS = 5
LEAST_EVERY, MOST_EVERY = timedelta(seconds=10), timedelta(days=366)
MOST_JITTER = timedelta(hours=24)
ONE_OF = ("cron", "every", "at")


def check_cron(text: str) -> str:
    """Five fields as cron(5) has them; raises a validation error that says what is wrong."""
    fields = text.split()
    if len(fields) != 5:
        raise PydanticCustomError(
            "cron", "a cron expression has five fields: minute hour day-of-month month day-of-week"
        )
    try:
        CronSim(text, EPOCH)
    except CronSimError as error:
        raise PydanticCustomError(
            "cron", "{text} is no cron expression: {why}", {"text": text, "why": str(error)}
        ) from error
    return " ".join(fields)


def check_zone(text: str) -> str:
    """A name of the IANA time zone database."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        sentence = "'{text}' is no time zone; write one such as Europe/Berlin or UTC"
        raise PydanticCustomError("time_zone", sentence, {"text": text[:60]}) from error
    return text


def read_every(given: object) -> object:
    """Seconds between two ticks: `"15m"`, `"1d"`, or a number of seconds."""
    return _read_seconds(given, LEAST_EVERY, MOST_EVERY, "every is between 10s and 366d, such as '15m' or '1d'")


def read_jitter(given: object) -> object:
    """The longest delay of a tick in seconds."""
    return _read_seconds(given, timedelta(0), MOST_JITTER, "jitter is between 0s and 24h, such as '90s'")


def _read_seconds(given: object, least: timedelta, most: timedelta, sentence: str) -> object:
    if given is None:
        return given
    is_number = isinstance(given, int) and not isinstance(given, bool)
    found = timedelta(seconds=min(int(str(given)), 10**9)) if is_number else read_duration(given)
    if found is None or not least <= found <= most:
        raise PydanticCustomError("duration", sentence)
    return int(found.total_seconds())


Cron = Annotated[str, Field(max_length=200), AfterValidator(check_cron)]
Zone = Annotated[str, Field(max_length=60), AfterValidator(check_zone)]
Every = Annotated[int, BeforeValidator(read_every), Field(description="Seconds, or a duration such as `15m`.")]
Jitter = Annotated[int, BeforeValidator(read_jitter), Field(description="Seconds, or a duration such as `90s`.")]


class ScheduleBody(Body):
    """When a job runs by itself: one of `cron` (in its `time_zone`), `every` and `at`.

    A tick is nominal: it falls due up to `jitter` later. `catch_up` says what becomes of ticks that were missed while
    the platform was off, `overlap` what a tick does while a run of the job is under way.
    """

    model_config = shown_as({"cron": "30 2 * * *", "time_zone": "Europe/Berlin", "overlap": "skip"}, {"every": "15m"})

    cron: Cron | None = None
    time_zone: Zone | None = None
    every: Every | None = None
    at: Time | None = None
    start: Time | None = None
    end: Time | None = None
    jitter: Jitter = 0
    catch_up: Annotated[str, Field(pattern=one_of("skip", "last", "all"))] = "last"
    catch_up_limit: Annotated[int, Field(ge=1, le=MOST_CAUGHT_UP)] = 10
    overlap: Annotated[str, Field(pattern=one_of("skip", "queue", "replace"))] = "skip"
    paused: bool = False

    @model_validator(mode="after")
    def _check_together(self) -> "ScheduleBody":
        given = [name for name in ONE_OF if getattr(self, name) is not None]
        if len(given) != 1:
            raise PydanticCustomError("schedule", "a schedule has exactly one of 'cron', 'every' and 'at'")
        if self.time_zone is not None and self.cron is None:
            raise PydanticCustomError("schedule", "'time_zone' goes with 'cron'; 'every' and 'at' need none")
        if self.start is not None and self.end is not None and from_rfc3339(self.end) < from_rfc3339(self.start):
            raise PydanticCustomError("schedule", "'end' is before 'start'")
        return self

    def read(self, now: Micros) -> Schedule:
        """The schedule; an interval without a start counts from now."""
        start = None if self.start is None else from_rfc3339(self.start)
        return Schedule(
            cron=self.cron,
            time_zone=self.time_zone or "UTC",
            every_s=self.every,
            at=None if self.at is None else from_rfc3339(self.at),
            anchor=0 if self.every is None else start if start is not None else now,
            start=start,
            end=None if self.end is None else from_rfc3339(self.end),
            jitter_s=self.jitter,
            catch_up=cast(CatchUp, self.catch_up),
            catch_up_limit=self.catch_up_limit,
            overlap=cast(Overlap, self.overlap),
        )


class Scheduled(Body):
    """A body that has a schedule: what is wrong with one that a patch made is told where the patch has it."""

    schedule: ScheduleBody


class SchedulePatch(Body):
    """What a schedule is to have otherwise (RFC 7396). Of `cron`, `every`, `at` one takes the place of another."""

    cron: Cron | None = None
    time_zone: Zone | None = None
    every: Every | None = None
    at: Time | None = None
    start: Time | None = None
    end: Time | None = None
    jitter: Jitter | None = None
    catch_up: Annotated[str | None, Field(pattern=one_of("skip", "last", "all"))] = None
    catch_up_limit: Annotated[int | None, Field(ge=1, le=MOST_CAUGHT_UP)] = None
    overlap: Annotated[str | None, Field(pattern=one_of("skip", "queue", "replace"))] = None
    paused: bool | None = None


class ScheduleShown(Answer):
    """A schedule and its next ticks, without their jitter; none while it is paused or when it has ended."""

    cron: str | None
    time_zone: str | None
    every_s: int | None
    at: Instant | None
    start: Instant | None
    end: Instant | None
    jitter_s: int
    catch_up: str
    catch_up_limit: int
    overlap: str
    paused: bool
    next: list[Instant]
    next_at: Instant | None = Field(description="When the next tick falls due, its jitter included.")


class BackfillBody(Body):
    """The range whose ticks are run, both ends included; those that ran already only with `again`."""

    model_config = shown_as({"from": "2026-05-01T00:00:00Z", "to": "2026-05-31T23:59:59Z"})

    since: Time = Field(alias="from")
    to: Time
    again: bool = False


class TickShown(Answer):
    """One tick: what became of it, why, and its run."""

    id: str
    trigger: Literal["schedule", "backfill", "after"]
    at: Instant
    until: Instant | None = Field(description="The end (exclusive) of many ticks that are told as one.")
    outcome: Literal["waiting", "fired", "skipped"]
    reason: str | None
    run: str | None
    decided_at: Instant


class TickPage(Answer):
    """One page of ticks."""

    items: list[TickShown]
    next_page_token: str | None
    total: int | None = None


def patched_schedule(job: Job, patch: Mapping[str, Json]) -> dict[str, Json]:
    """The wire form of a job's schedule with a merge patch, to be read as a `ScheduleBody`."""
    kept: Mapping[str, Any] = job.schedule or {}
    wire = {name: kept.get(name) for name in ("cron", "at", "start", "end", "catch_up", "catch_up_limit", "overlap")}
    wire |= {"every": kept.get("every_s"), "jitter": kept.get("jitter_s"), "paused": job.schedule_paused}
    wire |= {"time_zone": kept.get("time_zone") if kept.get("cron") else None}
    if any(patch.get(name) is not None for name in ONE_OF):
        wire |= dict.fromkeys(ONE_OF)
        wire["time_zone"] = wire["time_zone"] if patch.get("cron") else None
    return {name: value for name, value in {**wire, **patch}.items() if value is not None}


def schedule_document(job: Job) -> dict[str, Json] | None:
    """A job's schedule as it is shown."""
    if job.schedule is None:
        return None
    kept: Mapping[str, Any] = job.schedule
    schedule, now = Schedule.of(kept), now_micros()
    ticks = () if job.schedule_paused else _next_ticks(schedule, job.scheduled_since or now, now)
    names = ("cron", "every_s", "at", "start", "end", "jitter_s", "catch_up", "catch_up_limit", "overlap")
    return {
        **{name: kept.get(name) for name in names},
        "time_zone": schedule.time_zone if schedule.cron is not None else None,
        "paused": job.schedule_paused,
        "next": [rfc3339(tick) for tick in ticks],
        "next_at": instant(job.next_at),
    }


def _next_ticks(schedule: Schedule, since: Micros, now: Micros) -> Sequence[Micros]:
    """The next ticks of a schedule whose ticks are decided up to `since`."""
    known = _ticks_behind(schedule, since)
    coming = [tick for tick in known if tick > now]
    is_enough = len(coming) >= SHOWN_TICKS or len(known) <= SHOWN_TICKS  # else long nobody has decided any
    return coming[:SHOWN_TICKS] if is_enough else upcoming(schedule, now, SHOWN_TICKS)


@lru_cache(maxsize=10_000)
def _ticks_behind(schedule: Schedule, since: Micros) -> Sequence[Micros]:
    """One more than are shown, found once until the next one is decided: a list has those of 500 jobs, and some crons
    take milliseconds."""
    return tuple(upcoming(schedule, since, SHOWN_TICKS + 1))


def tick_document(row: Tick) -> dict[str, Json]:
    """A tick as it is shown."""
    _, _, until = row.key.partition("/")
    return {
        "id": row.id,
        "trigger": row.trigger,
        "at": instant(row.at),
        "until": until or None,
        "outcome": row.outcome,
        "reason": row.reason,
        "run": row.run_id,
        "decided_at": instant(row.created_at),
    }
