"""`make crash`: the long campaign. Exit status 1 when an invariant did not hold."""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from core.settings import Settings
from tests.crash.campaign import SETTLED_S, Order, run
from tests.crash.faults import EVERYWHERE
from tests.crash.installation import embedded
from tests.crash.outages import WITH_SERVERS
from tests.crash.report import Report
from tests.crash.runcampaign import RunCampaign, RunOrder
from tests.crash.runshapes import SHAPES, shapes_of
from tests.crash.runsites import for_the_scorer, for_the_stand_in, stand_in_interpreter
from tests.crash.stack import stack

USUAL = {f"PORTSIDE_{name.upper()}": str(Settings.model_fields[name].default) for name in ("lease_s", "poll_s")}
WHILE_WORKING = ("after_claim", "before_effect", "after_effect", "before_final_commit")


def main() -> int:
    """Run and print the table, also after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="make crash", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="the number of the first round")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--stack", action="store_true", help="over PostgreSQL, Redis and MinIO")
    parser.add_argument("--runs", action="store_true", help="kill runs: each must end as the undisturbed one")
    parser.add_argument("--store", choices=("directory", "s3"), help="where runs' bytes are; default as is usual")
    parser.add_argument("--faults", type=int, default=3, help="at most so many in a round of runs")
    parser.add_argument("--everywhere", action="store_true", help="runs on either database with either store, in turn")
    parser.add_argument("--stand-in", action="store_true", help="with a stand-in for the scorer, which starts fast")
    parser.add_argument("--recovery", action="store_true", help="only kill who works, at the product's own lease")
    parser.add_argument("--at-once", type=int, default=1, help="how many installations work at the same time")
    parser.add_argument("--folder", type=Path, default=None, help="where the data folders lie; kept")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="portside-crash-"))
    report, began = Report(), time.monotonic()
    say(f"seed {given.seed}, data in {folder}")
    settings = USUAL if given.recovery else {}
    opened = stack if given.stack else embedded
    if given.runs:
        return kill_runs(given, folder, report, began)
    order = Order(
        given.seed,
        range(given.first, given.first + given.rounds),
        faults=WITH_SERVERS if given.stack else EVERYWHERE,
    )
    if given.recovery:
        order = replace(order, points=WHILE_WORKING, acts=(2, 2), action="kill", settled_s=2 * SETTLED_S)
    try:
        asyncio.run(run(order, folder, lambda place, forge: opened(place, forge, settings), report, say, given.at_once))
    except KeyboardInterrupt:
        say("interrupted")
    print(f"seed {given.seed}, {time.monotonic() - began:.0f} s", *report.lines(), sep="\n")
    return 1 if report.violations else 0


def kill_runs(given: argparse.Namespace, folder: Path, report: Report, began: float) -> int:
    """The campaign of runs."""
    settings, piece = {}, for_the_stand_in() if given.stand_in else for_the_scorer()
    if given.stand_in:
        settings = {"PORTSIDE_SERVING_PYTHON": str(stand_in_interpreter(folder))}
    shapes = SHAPES if given.everywhere else shapes_of(with_servers=given.stack, store=given.store)
    rounds = range(given.first, given.first + given.rounds)
    order = RunOrder(given.seed, rounds, faults=(1, given.faults), shapes=shapes)
    try:
        asyncio.run(RunCampaign(order, folder, piece, settings, report, say, given.at_once).run())
    except KeyboardInterrupt:
        say("interrupted")
    print(f"seed {given.seed}, {time.monotonic() - began:.0f} s", *report.lines(), sep="\n")
    return 1 if report.violations else 0


def say(words: str) -> None:
    """Progress, for who waits."""
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
