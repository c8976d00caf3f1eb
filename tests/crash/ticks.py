"""A year of schedules in twelve zones, decided by two scheduler processes that are killed at random: `make ticks`.

Time is simulated: the processes take the instant that the campaign tells them as the database's clock. What fires must
be each tick once, and what did not fire must say why.
"""

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from sqlalchemy import select

from core.clock import Micros, from_rfc3339, now_micros, rfc3339
from core.errors import DatabaseBusy
from core.ids import new_id
from state.advance import advance, lock
from state.database import Database, open_database
from state.history import By, begin
from state.jobtables import Job, Run, Tick
from state.migrate import DEFAULT_TENANT, migrate
from state.queries.schedules import due_jobs, released_jobs
from state.schedules import Schedule
from state.ticking import decide, set_schedule
from tests.state.rows import VAULT

ZONES = (
    *("UTC", "Europe/Berlin", "Europe/London", "America/New_York", "America/Los_Angeles", "America/Santiago"),
    *("Africa/Cairo", "Asia/Kolkata", "Asia/Tokyo", "Australia/Sydney", "Australia/Lord_Howe", "Pacific/Auckland"),
)
BY = By("campaign")
HOUR = 3_600_000_000
SCHEDULERS = 2


@dataclass
class Outcome:
    """What a campaign has seen."""

    expected: int = 0
    kills: int = 0
    violations: list[str] = field(default_factory=list)


async def campaign(url: str, zones: tuple[str, ...], begin_at: Micros, end: Micros, seed: int) -> Outcome:
    """Tick from one instant to another, kill, and compare."""
    dice, outcome = random.Random(seed), Outcome()
    database = open_database(url)
    await migrate(database, VAULT)
    schedules = {
        zone: Schedule(cron="30 2 * * *", time_zone=zone, catch_up="all", catch_up_limit=1000, overlap="queue")
        for zone in zones
    }
    jobs = {zone: await _job(database, number, schedules[zone], begin_at) for number, zone in enumerate(zones)}
    schedulers = [_Scheduler(url) for _ in range(SCHEDULERS)]
    try:
        now = begin_at
        while now < end:
            now = min(end, now + int(dice.uniform(1, 30) * HOUR))
            for scheduler in schedulers:
                # One clock is behind the other now and then, as after a correction.
                scheduler.look(now - (3 * HOUR if dice.random() < 0.1 else 0), dice.random())
            killed = dice.random() < 0.3
            if killed:
                await asyncio.sleep(dice.uniform(0, 0.03))
                dice.choice(schedulers).kill()
                outcome.kills += 1
            await asyncio.gather(*(asyncio.to_thread(scheduler.wait) for scheduler in schedulers))
            await _finish_runs(database)
        while await _is_unfinished(database, end):
            schedulers[0].look(end, 0.0)
            await asyncio.to_thread(schedulers[0].wait)
            await _finish_runs(database)
    finally:
        for scheduler in schedulers:
            scheduler.end()
    for zone, job_id in jobs.items():
        expected = list(takewhile(lambda tick: tick <= end, schedules[zone].ticks(begin_at)))
        outcome.expected += len(expected)
        outcome.violations += [f"{zone}: {found}" async for found in _compared(database, job_id, expected)]
    await database.close()
    return outcome


async def _job(database: Database, number: int, schedule: Schedule, since: Micros) -> str:
    async with database.write() as session:
        now = now_micros()
        said = {"tenant_id": DEFAULT_TENANT, "created_at": now, "updated_at": now, "tags": [], "env_names": []}
        job = Job(
            id=new_id("job"),
            name=f"job-{number}",
            kind="batch",
            spec={"input": {"uri": "https://example.com/rows.csv"}},
            **said,
        )
        await begin(session, job, BY)
        await set_schedule(session, job, schedule, paused=False)
        job.scheduled_since, job.next_at = since, since
        return job.id


async def _finish_runs(database: Database) -> None:
    async with database.write() as session:
        for run_id in list(await session.scalars(select(Run.id).where(Run.status == "queued"))):
            run = await lock(session, Run, run_id)
            await advance(session, run, "start", BY)
            await advance(session, run, "succeed", BY)


async def _is_unfinished(database: Database, end: Micros) -> bool:
    async with database.read() as session:
        waiting = await session.scalar(select(Tick.id).where(Tick.outcome == "waiting").limit(1))
        return waiting is not None or bool(await due_jobs(session, end))


async def _compared(database: Database, job_id: str, expected: list[Micros]) -> AsyncIterator[str]:
    async with database.read() as session:
        ticks = list(await session.scalars(select(Tick).where(Tick.job_id == job_id)))
        runs = Counter(await session.scalars(select(Run.scheduled_for).where(Run.job_id == job_id)))
    for tick in expected:
        if runs[tick] != 1:
            yield f"{rfc3339(tick)} ran {runs[tick]} times"
    for other in runs.keys() - set(expected):
        yield f"{other} is no tick, and ran"
    for row in ticks:
        if row.outcome != "fired":
            yield f"{row.key} is {row.outcome}: {row.reason}"


class _Scheduler:
    """A scheduler process that looks when it is told to, at the instant that it is told."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._process = self._start()
        self._asked = False

    def look(self, now: Micros, pause: float) -> None:
        """Ask for one look; it pauses for a moment of up to 20 ms between its jobs."""
        if self._process.poll() is not None:
            self._close()
            self._process = self._start()
        assert self._process.stdin is not None
        self._process.stdin.write(f"{now} {pause * 0.02}\n".encode())
        self._process.stdin.flush()
        self._asked = True

    def wait(self) -> None:
        """Until the look is done, or the process is dead."""
        if self._asked:
            assert self._process.stdout is not None
            self._process.stdout.readline()
            self._asked = False

    def kill(self) -> None:
        """SIGKILL, wherever it is."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        """For good."""
        self.kill()
        self._close()

    def _close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.crash.ticks", "--scheduler", self._url]
        root = str(Path(__file__).resolve().parents[2])
        environment = {**os.environ, "PYTHONPATH": root}
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=root)


async def _schedule(url: str) -> None:
    database = open_database(url)
    for line in _lines():
        now, pause_s = line.split()
        async with database.read() as session:
            found = {*await due_jobs(session, int(now)), *await released_jobs(session)}
        for job_id in sorted(found):
            with suppress(DatabaseBusy):  # the other one is at work, and the next look comes
                async with database.write() as session:
                    await decide(session, job_id, int(now))
                    await asyncio.sleep(float(pause_s))
        print("done", flush=True)


def _lines() -> Iterator[str]:
    while line := sys.stdin.readline():
        yield line


def main() -> int:
    """Run the campaign on a SQLite file, or be one of its schedulers."""
    parser = argparse.ArgumentParser(prog="make ticks", description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--zones", type=int, default=len(ZONES))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--url", help="a database; default a new file")
    parser.add_argument("--scheduler", metavar="URL", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.scheduler:
        asyncio.run(_schedule(given.scheduler))
        return 0
    begin_at = from_rfc3339("2026-01-01T00:00:00Z")
    with tempfile.TemporaryDirectory(prefix="portside-ticks-") as folder:
        url = given.url or f"sqlite:///{folder}/ticks.db"
        end = begin_at + given.days * 24 * HOUR
        outcome = asyncio.run(campaign(url, ZONES[: given.zones], begin_at, end, given.seed))
    print(f"seed {given.seed}: {outcome.expected} ticks, {outcome.kills} kills, {len(outcome.violations)} violations")
    print(*outcome.violations[:50], sep="\n")
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
