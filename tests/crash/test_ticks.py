"""A sample of the campaign over schedules: two zones in the weeks of their changes, and processes that are killed."""

from pathlib import Path

from core.clock import from_rfc3339
from tests.crash.ticks import campaign


async def test_schedulers_that_are_killed_fire_each_tick_once_through_a_change_of_the_clock(tmp_path: Path) -> None:
    begin, end = from_rfc3339("2026-10-20T00:00:00Z"), from_rfc3339("2026-11-04T00:00:00Z")
    zones = ("Europe/Berlin", "America/New_York")
    outcome = await campaign(f"sqlite:///{tmp_path}/ticks.db", zones, begin, end, seed=3)
    assert outcome.violations == []
    assert outcome.expected == 30
    assert outcome.kills > 0
