"""A sample of the campaign: every failpoint kills at least twice, other faults come between, and nothing is violated.

Several installations at once, because most of a round is waiting. The long campaign is `make crash`.
"""

import asyncio
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from core.failpoints import POINTS
from tests.crash.campaign import Order, run
from tests.crash.faults import ELSEWHERE, EVERYWHERE, NEEDED, Fault, at_failpoint, by_chance
from tests.crash.installation import embedded
from tests.crash.report import Report
from tests.crash.workload import predictions

SITES = 3
ROUNDS_PER_SITE = 4
ACTS = 4
LEAST_KILLS = 60
LEAST_HITS = 2
MOST_ATTEMPTS = 4
# Beside the steady one. Each costs a model server at every start of a platform, more than the platform itself: with one
# there is an old service that goes and a new one that comes, as with two.
MOST_SERVICES = 1


@dataclass(frozen=True)
class Sample(Order):
    """Rounds whose acts are kills at failpoints, all of them in turn, and one other fault."""

    def plan(self, number: int) -> list[Fault]:
        """Over all rounds each point comes twice."""
        chance = random.Random(f"{self.seed}/{number}/plan")
        points = [self.points[(number * ACTS + index) % len(self.points)] for index in range(ACTS)]
        planned = [_with_little(at_failpoint(point, chance, "kill", count=1), point) for point in points]
        return [*planned[:2], chance.choice(self.faults)(chance), *planned[2:]]


def _with_little(fault: Fault, point: str) -> Fault:
    """With the clients that come by there and no others: each inspection and each model server costs half a second."""
    return replace(fault, stories=(NEEDED.get(point, predictions),))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Report]:
    """What the sample has found."""
    seed = int(os.environ.get("PORTSIDE_CRASH_SEED") or random.SystemRandom().randrange(1_000_000))
    found, folder = Report(), tmp_path_factory.mktemp("crash")
    faults = (by_chance, by_chance, *EVERYWHERE)
    rounds = range(SITES * ROUNDS_PER_SITE)
    order = Sample(seed, rounds, rounds_per_site=ROUNDS_PER_SITE, faults=faults, most_services=MOST_SERVICES)
    asyncio.run(run(order, folder / "first", embedded, found, silent, SITES))
    # On a machine with other work nobody may have come by in time: again, for those points alone.
    for attempt in range(1, MOST_ATTEMPTS + 1):
        missing = [point for point in order.points for _ in range(LEAST_HITS - found.points[point])]
        if missing:
            rounds = range(-(-len(missing) // ACTS))
            again = replace(
                order, seed=seed + attempt, rounds=rounds, rounds_per_site=1, points=tuple(missing), first_points=()
            )
            asyncio.run(run(again, folder / f"again-{attempt}", embedded, found, silent, SITES))
    yield found
    print(*found.lines(), sep="\n")


def silent(words: str) -> None:
    """A test tells nothing while it runs."""


def test_nothing_that_was_promised_is_broken(report: Report) -> None:
    assert not report.violations, "\n".join(map(str, report.violations))


def test_every_failpoint_has_killed_twice(report: Report) -> None:
    points = [point for point in POINTS if point not in ELSEWHERE]
    assert {point: report.points[point] for point in points if report.points[point] < LEAST_HITS} == {}


def test_sixty_processes_were_killed(report: Report) -> None:
    assert report.killed >= LEAST_KILLS, report.kills
