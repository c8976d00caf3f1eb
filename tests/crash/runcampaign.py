"""`python -m tests.crash --runs`: runs whose processes are killed at every point and by chance.

Each must end as the undisturbed run did, byte for byte, and leave nothing behind. A round is one run and some faults.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.clock import Micros
from state.database import open_database
from storage.open import open_store
from tests.crash.faults import OF_RUNS, NeverBack, Scene
from tests.crash.forge import Forge
from tests.crash.installation import Installation
from tests.crash.ledger import Client, Ledger
from tests.crash.report import Report, Violation
from tests.crash.runfaults import HIT_S, AtPoint, Strike, of_site
from tests.crash.runjudge import forget, judge, unswept
from tests.crash.runshapes import SHAPES, Shape
from tests.crash.runsites import NO_KEY, Workpiece
from tests.crash.runtrial import DONE_S, FINAL, Trial
from tests.workers.runrows import Ground

AS_UNDISTURBED = "a run ends as if nothing had been"
SWEPT = "what a run stored goes when it is forgotten"
RUN_POINTS = (
    *OF_RUNS,
    "put_before_rename",
    "after_claim",
    "before_effect",
    "after_effect",
    "before_final_commit",
    "after_final_commit",
    "commit_before_signal",
)
EARLY = (
    "run_before_pin",
    "run_before_spawn",
    "run_after_spawn",
    "after_claim",
)  # a run comes by there at its beginning


@dataclass(frozen=True)
class RunOrder:
    """What a campaign of runs shall do."""

    seed: int
    rounds: range
    rounds_per_site: int = 25
    faults: tuple[int, int] = (1, 3)
    points: Sequence[str] = RUN_POINTS
    shapes: Sequence[Shape] = SHAPES[:1]

    def sites(self) -> Iterator[tuple[Shape, range]]:
        """Which rounds are on one site, and what that is; a round is on the same one whenever it is run again."""
        first = self.rounds.start
        while first < self.rounds.stop:
            turn = first // self.rounds_per_site
            last = min(self.rounds.stop, (turn + 1) * self.rounds_per_site)
            yield self.shapes[turn % len(self.shapes)], range(first, last)
            first = last

    def plan(self, number: int, site: Installation) -> list[tuple[str, Strike]]:
        """The faults of a round: a named point in turn, and others by chance."""
        chance = random.Random(f"{self.seed}/{number}/plan")
        name = self.points[number % len(self.points)]
        point = (f"at {name}", AtPoint(name, chance.choice((1, 1, 2, 3)) if name.startswith("chunk") else 1))
        others = of_site(site.servers)
        more = [chance.choice(others) for _ in range(chance.randint(*self.faults) - 1)]
        if name in EARLY or not more:
            return [point, *more]
        planned: list[tuple[str, Strike]] = [point, *more]
        chance.shuffle(planned)
        return planned


async def open_trial(site: Installation, shape: Shape, piece: Workpiece, seed: int, report: Report) -> Trial:
    """A site at work on which one run has ended undisturbed."""
    chance = random.Random(seed)
    client = Client(site.urls, Ledger(), chance, site.token)
    scene = Scene(site, client, chance, start_s=DONE_S / 2)
    if site.migration is not None:
        site.migration.start()
        await scene.meets(lambda: site.migration is None or not site.migration.is_alive, HIT_S)
    await scene.revive()
    ground = Ground(open_database(site.database_url), open_store(site.artifacts_url, site.access), NO_KEY)
    trial = Trial(site, shape, ground, scene, await piece.lay_out(ground), report)
    trial.run = trial.undisturbed = await ground.run(trial.job)
    if not await trial.until(*FINAL, within_s=DONE_S):
        raise NeverBack(f"the undisturbed run is {await trial.status()} after {DONE_S:g} s")
    trial.expected = await ground.output(trial.run), await ground.output(trial.run, "bad_rows")
    if None in trial.expected:
        raise NeverBack(f"the undisturbed run has no output: {(await ground.now(trial.run)).message}")
    return trial


async def round_of(trial: Trial, order: RunOrder, number: int, tell: Callable[[str], None]) -> None:
    """One run, its faults, and the judgement."""
    began, report = time.monotonic(), trial.report
    trial.scene.chance = random.Random(f"{order.seed}/{number}")
    faults = order.plan(number, trial.site)
    if isinstance(faults[0][1], AtPoint):
        faults[0][1].arm(trial)
    trial.run = await trial.ground.run(trial.job)
    for name, strike in faults:
        await strike(trial)
        trial.scene.faults[name] += 1
        await trial.scene.revive()
    names = tuple(name for name, _ in faults)
    for words in await judge(trial):
        found = Violation(order.seed, number, AS_UNDISTURBED, words, names, trial.site.folder)
        report.violations.append(found)
        tell(f"VIOLATION {found}")
    report.checked[AS_UNDISTURBED] += 1
    report.rounds += 1
    report.settled_s.append(time.monotonic() - began)
    ended = await trial.ground.now(trial.run)
    sum_up(trial, ended.completed_at)
    await forget(trial, trial.run)
    tell(f"round {number}: {time.monotonic() - began:.1f} s, {', '.join(names)}")


def sum_up(trial: Trial, ended_at: Micros | None) -> None:
    """Move the scene's counts to the report; whoever was killed by chance when the run had ended is told apart."""
    scene, report = trial.scene, trial.report
    of_site = report.of_sites.setdefault(trial.shape.name, Counter())
    of_site["rounds"] += 1
    for kill in scene.kills:
        is_late = ended_at is not None and kill.at > ended_at and not kill.how.startswith("at ")
        if is_late:
            of_site["killed after its end"] += 1
        else:
            report.kills[f"{kill.role} {kill.how}"] += 1
            of_site[f"{kill.role} killed"] += 1
    report.faults.update(scene.faults)
    report.missed.update(scene.missed)
    report.down_s += scene.down_s
    report.hits[str(trial.site.folder)] = Counter(trial.site.hits())
    scene.kills, scene.down_s = [], []
    scene.faults.clear()
    scene.missed.clear()


@dataclass(frozen=True)
class RunCampaign:
    """The rounds of an order, site after site, some at once, in folders below `folder`."""

    order: RunOrder
    folder: Path
    piece: Workpiece
    settings: Mapping[str, str]
    report: Report
    tell: Callable[[str], None]
    at_once: int = 1

    async def run(self) -> None:
        """All of them."""
        forge = await asyncio.to_thread(Forge)
        turns = asyncio.Semaphore(self.at_once)

        async def one(shape: Shape, numbers: range) -> None:
            async with turns:
                await self._site(shape, numbers, forge)

        try:
            async with asyncio.TaskGroup() as sites:
                for shape, numbers in self.order.sites():
                    sites.create_task(one(shape, numbers))
        finally:
            forge.close()

    async def _site(self, shape: Shape, numbers: range, forge: Forge) -> None:
        place = self.folder / f"runs-{self.order.seed}-{numbers.start}-{shape.name}"
        place.mkdir(parents=True)
        self.tell(f"rounds {numbers.start} to {numbers.stop - 1}: {shape.name}")
        site = await asyncio.to_thread(shape.open, place, forge, self.settings)
        trial, number = None, numbers.start
        try:
            trial = await open_trial(site, shape, self.piece, self.order.seed, self.report)
            for number in numbers:
                await round_of(trial, self.order, number, self.tell)
            await forget(trial, trial.undisturbed)
            for words in await unswept(trial):
                self._found(number, SWEPT, words, place)
            self.report.checked[SWEPT] += 1
        except NeverBack as error:
            self._found(number, "what was started answers", str(error), place)
        finally:
            if trial is not None:
                await trial.close()
            await asyncio.to_thread(site.close)

    def _found(self, number: int, invariant: str, words: str, place: Path) -> None:
        found = Violation(self.order.seed, number, invariant, words, (), place)
        self.report.violations.append(found)
        self.tell(f"VIOLATION {found}")
