"""A sample of the campaign: every failpoint kills at least twice, other faults come between, and nothing is violated.

Several installations at once, because most of a round is waiting. The long campaign is `make crash`.
"""

import asyncio
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from core.failpoints import POINTS
from tests.crash.campaign import Order, run
from tests.crash.faults import EVERYWHERE, Fault, at_failpoint
from tests.crash.installation import embedded
from tests.crash.report import Report

SITES = 4
ROUNDS_PER_SITE = 3
LEAST_KILLS = 60
LEAST_HITS = 2
MORE_ROUNDS = 6  # for failpoints that nobody came by in time, on a machine with other work


@dataclass(frozen=True)
class Sample(Order):
    """Rounds whose acts are kills at failpoints, all of them in turn, and one other fault."""

    def plan(self, number: int) -> list[Fault]:
        """Four failpoints each round; over all rounds each comes twice."""
        chance = random.Random(f"{self.seed}/{number}/plan")
        order = list(self.points)
        points = [order[(number * PER_ROUND + index) % len(order)] for index in range(PER_ROUND)]
        planned = [at_failpoint(point, chance, "kill") for point in points]
        return [*planned[:2], chance.choice(self.faults)(chance), *planned[2:]]


PER_ROUND = 4


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Report]:
    """What the sample has found."""
    seed = int(os.environ.get("PORTSIDE_CRASH_SEED") or random.SystemRandom().randrange(1_000_000))
    found = Report()
    order = Sample(seed, range(SITES * ROUNDS_PER_SITE), rounds_per_site=ROUNDS_PER_SITE, faults=EVERYWHERE)
    folder = tmp_path_factory.mktemp("crash")
    asyncio.run(run(order, folder / "first", embedded, found, lambda words: None, SITES))
    again = tuple(point for point in order.points if found.points[point] < LEAST_HITS)
    if again:
        more = Sample(seed + 1, range(MORE_ROUNDS), rounds_per_site=ROUNDS_PER_SITE, points=again)
        asyncio.run(run(more, folder / "again", embedded, found, lambda words: None, SITES))
    yield found
    print(*found.lines(), sep="\n")


def test_nothing_that_was_promised_is_broken(report: Report) -> None:
    assert not report.violations, "\n".join(map(str, report.violations))


def test_every_failpoint_has_killed_twice(report: Report) -> None:
    assert {point: report.points[point] for point in POINTS if report.points[point] < LEAST_HITS} == {}


def test_sixty_processes_were_killed(report: Report) -> None:
    assert report.killed >= LEAST_KILLS, report.kills
