"""A sample of the campaign of runs: each ends as the undisturbed one, byte for byte, whoever is killed meanwhile.

With a stand-in in the scorer's place, which starts fast; the long campaign has the real one, and servers.
"""

import asyncio
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash.faults import OF_RUNS
from tests.crash.report import Report
from tests.crash.runcampaign import RunCampaign, RunOrder
from tests.crash.runsites import for_the_stand_in, stand_in_interpreter

SITES = 2
LEAST_KILLS = 12
MOST_ATTEMPTS = 3


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Report]:
    """What the sample has found: every failpoint of runs once, and other faults beside some of them."""
    seed = int(os.environ.get("PORTSIDE_CRASH_SEED") or random.SystemRandom().randrange(1_000_000))
    found, folder = Report(), tmp_path_factory.mktemp("runs")
    settings = {"PORTSIDE_SERVING_PYTHON": str(stand_in_interpreter(folder, pause_ms=10))}
    rounds = range(len(OF_RUNS))
    order = RunOrder(seed, rounds, rounds_per_site=len(OF_RUNS) // SITES, points=OF_RUNS, faults=(2, 2))
    piece = for_the_stand_in(rows=1000)

    def campaign(wanted: RunOrder, place: Path) -> None:
        asyncio.run(RunCampaign(wanted, place, piece, settings, found, silent, SITES).run())

    campaign(order, folder / "first")
    # A point may have been passed before it was armed, behind another fault: again, armed from the start, and alone.
    for attempt in range(1, MOST_ATTEMPTS + 1):
        if missing := tuple(point for point in OF_RUNS if not found.points[point]):
            rounds = range(len(missing))
            again = replace(order, seed=seed + attempt, rounds=rounds, rounds_per_site=1, faults=(1, 1), points=missing)
            campaign(again, folder / f"again-{attempt}")
    yield found
    print(*found.lines(), sep="\n")


def silent(words: str) -> None:
    """A test tells nothing while it runs."""


def test_every_run_ended_as_if_nothing_had_been(report: Report) -> None:
    assert not report.violations, "\n".join(map(str, report.violations))
    assert report.rounds >= len(OF_RUNS)


def test_every_failpoint_of_runs_has_killed(report: Report) -> None:
    assert {point for point in OF_RUNS if not report.points[point]} == set()


def test_a_dozen_processes_were_killed(report: Report) -> None:
    assert report.killed >= LEAST_KILLS, report.kills
