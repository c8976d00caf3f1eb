"""When schedules tick: twelve zones through a year against the wall clock, and what becomes of missed ticks."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest

from core.clock import Micros, from_rfc3339, rfc3339
from state.schedules import MOST_TOLD, ON_TIME, CatchUp, Due, Schedule, due, next_due, upcoming

ZONES = (
    *("UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Los_Angeles", "America/Santiago"),
    *("Africa/Cairo", "Asia/Kolkata", "Asia/Tokyo", "Australia/Sydney", "Australia/Lord_Howe", "Pacific/Auckland"),
)
MINUTE, HOUR = 60_000_000, 3_600_000_000


def micros(moment: datetime) -> Micros:
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def at(text: str) -> Micros:
    return from_rfc3339(text)


def berlin(text: str) -> Micros:
    return micros(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")))


def ticks_until(schedule: Schedule, after: Micros, end: Micros) -> list[Micros]:
    return list(takewhile(lambda tick: tick <= end, schedule.ticks(after)))


def wall_clock(day: date, hour: int, minute: int, zone: ZoneInfo) -> Micros:
    """The instant of a time of day, looked for minute by minute: the first of two, or the end of the skipped hour."""
    wanted = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
    moment = wanted.astimezone(UTC) - timedelta(minutes=90)
    while moment.astimezone(zone).replace(tzinfo=None) < wanted.replace(tzinfo=None):
        moment += timedelta(minutes=1)
    return micros(moment)


@pytest.mark.parametrize("name", ZONES)
def test_a_daily_schedule_ticks_once_on_every_day_of_a_year_at_its_time(name: str) -> None:
    zone, first = ZoneInfo(name), date(2026, 1, 1)
    schedule = Schedule(cron="30 2 * * *", time_zone=name)
    days = [first + timedelta(days=number) for number in range(365)]
    expected = [wall_clock(day, 2, 30, zone) for day in days]
    assert ticks_until(schedule, expected[0] - 1, expected[-1]) == expected


@pytest.mark.parametrize("name", ZONES)
def test_every_half_hour_is_every_half_hour_of_real_time_through_both_changes_of_the_clock(name: str) -> None:
    schedule = Schedule(cron="*/30 * * * *", time_zone=name)
    for begin, days in ((at("2026-03-01T00:00:00Z"), 60), (at("2026-09-15T00:00:00Z"), 60)):
        found = ticks_until(schedule, begin, begin + days * 24 * HOUR)
        # Lord Howe moves its clocks by half an hour, Kolkata is half an hour off: the distance is the same everywhere.
        assert {later - earlier for earlier, later in pairwise(found)} == {30 * MINUTE}
        assert len(found) == days * 48


def test_two_times_within_the_skipped_hour_tick_once_when_it_is_over() -> None:
    schedule = Schedule(cron="0,30 2 * * *", time_zone="Europe/Berlin")
    found = ticks_until(schedule, berlin("2026-03-28T12:00"), berlin("2026-03-30T12:00"))
    assert found == [berlin("2026-03-29T03:00"), berlin("2026-03-30T02:00"), berlin("2026-03-30T02:30")]


@pytest.mark.parametrize("minutes", range(0, 180, 7))
def test_whoever_begins_within_the_hour_that_comes_twice_gets_no_tick_of_the_past(minutes: int) -> None:
    schedule = Schedule(cron="0,30 2 * * *", time_zone="Europe/Berlin")
    begin = at("2026-10-24T23:50:00Z") + minutes * MINUTE  # 01:50 in summer, 10 minutes before the first of the two
    both = [at("2026-10-25T00:00:00Z"), at("2026-10-25T00:30:00Z")]
    tomorrow = [berlin("2026-10-26T02:00"), berlin("2026-10-26T02:30")]
    assert upcoming(schedule, begin, 2) == [*(tick for tick in both if tick > begin), *tomorrow][:2]


def test_an_interval_counts_from_its_anchor_whenever_it_is_asked() -> None:
    anchor = at("2026-05-01T10:00:07Z")
    schedule = Schedule(every_s=900, anchor=anchor)
    assert upcoming(schedule, anchor, 2) == [anchor + 15 * MINUTE, anchor + 30 * MINUTE]
    assert upcoming(schedule, anchor - 1, 1) == [anchor]
    assert upcoming(schedule, anchor + 100 * 15 * MINUTE + 1, 1) == [anchor + 101 * 15 * MINUTE]


def test_a_schedule_keeps_within_its_start_and_end_which_both_count() -> None:
    start, end = at("2026-02-01T06:00:00Z"), at("2026-02-03T06:00:00Z")
    schedule = Schedule(cron="0 6 * * *", start=start, end=end)
    assert upcoming(schedule, 0, 9) == [start, at("2026-02-02T06:00:00Z"), end]
    assert next_due(schedule, "job_1", end) is None


def test_one_instant_ticks_once() -> None:
    schedule = Schedule(at=at("2026-02-01T06:00:00Z"))
    assert upcoming(schedule, at("2026-01-01T00:00:00Z"), 9) == [schedule.at]
    assert upcoming(schedule, at("2026-02-01T06:00:00Z"), 9) == []


def test_what_a_row_keeps_is_the_same_schedule() -> None:
    start = at("2026-02-01T06:00:00.25Z")
    schedule = Schedule(every_s=60, anchor=start, start=start, jitter_s=5, catch_up="all", overlap="replace")
    assert Schedule.of(schedule.kept()) == schedule
    assert schedule.kept()["start"] == rfc3339(start)


def test_jitter_is_the_same_for_a_tick_and_spread_over_its_range() -> None:
    schedule = Schedule(every_s=60, jitter_s=30)
    delays = [schedule.due_at("job_1", tick * MINUTE) - tick * MINUTE for tick in range(500)]
    assert delays == [schedule.due_at("job_1", tick * MINUTE) - tick * MINUTE for tick in range(500)]
    assert 0 <= min(delays) < 2_000_000
    assert 28_000_000 < max(delays) <= 30_000_000
    assert len({schedule.due_at(f"job_{number}", MINUTE) for number in range(50)}) > 40


HOURLY = "0 * * * *"
NIGHT, MORNING = at("2026-05-01T00:30:00Z"), at("2026-05-01T05:30:00Z")
MISSED = tuple(at(f"2026-05-01T0{hour}:00:00Z") for hour in range(1, 6))


def test_missed_ticks_are_skipped_or_the_last_or_the_newest_fire() -> None:
    by_policy: dict[CatchUp, Due] = {
        "skip": Due(missed=MISSED, decided=MISSED[-1]),
        "last": Due(late=MISSED[-1:], missed=MISSED[:-1], decided=MISSED[-1]),
        "all": Due(late=MISSED[-3:], missed=MISSED[:-3], decided=MISSED[-1]),
    }
    for policy, expected in by_policy.items():
        schedule = Schedule(cron=HOURLY, catch_up=policy, catch_up_limit=3)
        assert due(schedule, "job_1", NIGHT, MORNING) == expected


def test_a_tick_on_time_fires_whatever_was_missed_before_it() -> None:
    five = MISSED[-1]
    policies: tuple[CatchUp, ...] = ("skip", "last")
    for policy in policies:
        found = due(Schedule(cron=HOURLY, catch_up=policy), "job_1", NIGHT, five + ON_TIME)
        assert found == Due(fresh=(five,), missed=MISSED[:-1], decided=five)


def test_a_year_of_missed_minutes_is_told_in_a_hundred_rows_and_one() -> None:
    since, now = at("2025-01-01T00:00:30Z"), at("2026-01-01T00:10:00Z")
    found = due(Schedule(cron="* * * * *", catch_up="last"), "job_1", since, now)
    assert found.gap is not None
    first, end = found.gap
    # The last minute is on time, and the one before it to the microsecond: none of the missed ones needs to fire.
    assert (first, end, len(found.late), found.decided) == (at("2025-01-01T00:01:00Z"), found.missed[0], 0, now)
    assert found.fresh == (now - MINUTE, now)
    assert len(found.missed) >= MOST_TOLD
    assert found.missed[-1] == now - 2 * MINUTE


def test_a_tick_waits_for_its_jitter_and_so_do_those_after_it() -> None:
    schedule = Schedule(cron="* * * * *", jitter_s=600)
    since = at("2026-05-01T00:00:30Z")
    first = upcoming(schedule, since, 1)[0]
    assert next_due(schedule, "job_1", since) == schedule.due_at("job_1", first)
    assert due(schedule, "job_1", since, schedule.due_at("job_1", first) - 1) == Due()
    assert due(schedule, "job_1", since, schedule.due_at("job_1", first)).decided is not None
