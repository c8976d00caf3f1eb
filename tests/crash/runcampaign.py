"""`python -m tests.crash --runs`: runs whose processes are killed at every point and by chance.

Each must end as the undisturbed run did, byte for byte, and leave nothing behind. A round is one run and some faults.
"""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import func, select

from core.errors import IllegalMove, PlatformError
from state.database import open_database
from state.datatables import Dataset
from state.jobtables import Job, Run, RunChunk, RunProcess
from state.running import Verb
from storage.open import open_store
from tests.crash.faults import OF_RUNS, NeverBack, Scene
from tests.crash.forge import Forge
from tests.crash.installation import Installation
from tests.crash.ledger import Client, Ledger
from tests.crash.report import Report, Violation
from tests.crash.runsites import NO_KEY, Workpiece, leftovers, scorers
from tests.workers.runrows import Ground

FINAL = ("succeeded", "failed", "stopped")
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
HIT_S, DONE_S, GONE_S = 60.0, 180.0, 15.0  # long: beside other work a round has taken a minute
MEETS_S = 4.0
LOOK_S = 0.03
SLOW_STOP = 1.6  # leases

Strike = Callable[["Trial"], Awaitable[None]]


@dataclass(frozen=True)
class RunOrder:
    """What a campaign of runs shall do."""

    seed: int
    rounds: range
    rounds_per_site: int = 25
    faults: tuple[int, int] = (1, 3)
    points: Sequence[str] = RUN_POINTS

    def plan(self, number: int, *, has_servers: bool) -> list[tuple[str, Strike]]:
        """The faults of a round: a named point in turn, and others by chance."""
        chance = random.Random(f"{self.seed}/{number}/plan")
        name = self.points[number % len(self.points)]
        point = (f"at {name}", AtPoint(name, chance.choice((1, 1, 2, 3)) if name.startswith("chunk") else 1))
        others = [*EVERYWHERE, *(OF_SERVERS if has_servers else ())]
        more = [chance.choice(others) for _ in range(chance.randint(*self.faults) - 1)]
        if name in EARLY or not more:
            return [point, *more]
        planned: list[tuple[str, Strike]] = [point, *more]
        chance.shuffle(planned)
        return planned


@dataclass
class Trial:
    """One site, its rounds, and the run of the present one."""

    site: Installation
    ground: Ground
    scene: Scene
    job: Job
    expected: tuple[bytes | None, bytes | None]
    report: Report
    run: Run = field(init=False)

    @property
    def chance(self) -> random.Random:
        return self.scene.chance

    async def status(self) -> str:
        """The run's; a database that is away says nothing."""
        with suppress(PlatformError):
            return (await self.ground.now(self.run)).status
        return ""

    async def act(self, verb: Verb) -> bool:
        """Ask for a verb, unless the run has moved on."""
        with suppress(IllegalMove, PlatformError):
            await self.ground.act(self.run, verb)
            return True
        return False

    async def until(self, *statuses: str, within_s: float) -> bool:
        deadline = time.monotonic() + within_s
        while await self.status() not in statuses:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(LOOK_S)
        return True


@dataclass
class AtPoint:
    """Die at a named place; armed before the run begins where it is the first fault."""

    name: str
    count: int
    hits: int = -1  # before it was armed

    def arm(self, trial: Trial) -> None:
        """From now on."""
        self.hits = len(trial.site.hits())
        trial.site.arm(f"{self.name}=kill@{self.count}")

    async def __call__(self, trial: Trial) -> None:
        site, scene = trial.site, trial.scene
        if self.hits < 0:
            self.arm(trial)
        deadline = time.monotonic() + HIT_S
        while len(site.hits()) == self.hits and time.monotonic() < deadline:
            if self.name != "run_before_settle" and await trial.status() in FINAL:
                break
            await asyncio.sleep(LOOK_S)
        site.disarm()
        if len(site.hits()) == self.hits:
            scene.missed[self.name] += 1
            return
        await scene.meets(lambda: bool(site.dead()), HIT_S)
        scene.found_dead(f"at {self.name}")


async def kill_someone(trial: Trial) -> None:
    await asyncio.sleep(1.5 * trial.chance.random())
    trial.scene.kill(trial.scene.anyone(), "SIGKILL")


async def at_work(trial: Trial) -> list[psutil.Process]:
    """The scorers at some moment of their work."""
    await trial.scene.meets(lambda: bool(scorers(trial.site)), MEETS_S)
    await asyncio.sleep(trial.chance.random())
    return scorers(trial.site)


async def kill_scorer(trial: Trial) -> None:
    for process in await at_work(trial):
        with suppress(psutil.Error):
            process.kill()
            trial.report.kills["scorer SIGKILL"] += 1


async def freeze_scorer(trial: Trial) -> None:
    """It stands still while its node is killed: the next one must end it."""
    for process in await at_work(trial):
        with suppress(psutil.Error):
            process.send_signal(signal.SIGSTOP)
            trial.report.kills["scorer SIGSTOP"] += 1
    trial.scene.kill(trial.site.of_role("platform", "node")[0], "SIGKILL")


async def freeze_node(trial: Trial) -> None:
    """SIGSTOP for longer than a lease: who comes back may write nothing that another one has taken over."""
    await asyncio.sleep(0.8 * trial.chance.random())
    member = trial.site.of_role("platform", "node")[0]
    member.send(signal.SIGSTOP)
    await asyncio.sleep(trial.site.lease_s * SLOW_STOP)
    member.send(signal.SIGCONT)


async def term_node(trial: Trial) -> None:
    await asyncio.sleep(0.8 * trial.chance.random())
    member = trial.site.of_role("platform", "node")[0]
    member.send(signal.SIGTERM)
    if not await trial.scene.meets(lambda: not member.is_alive, 8.0):
        trial.scene.missed["SIGTERM was not enough"] += 1
        trial.scene.kill(member, "SIGKILL after SIGTERM")


async def pause_and_resume(trial: Trial) -> None:
    await asyncio.sleep(0.8 * trial.chance.random())
    if await trial.act("pause") and await trial.until("paused", *FINAL, within_s=DONE_S):
        await trial.act("resume")


async def kill_while_pausing(trial: Trial) -> None:
    await asyncio.sleep(0.8 * trial.chance.random())
    paused = await trial.act("pause")
    await asyncio.sleep(0.1 * trial.chance.random())
    trial.scene.kill(trial.scene.anyone(), "SIGKILL while it pauses")
    await trial.scene.revive()
    if paused and await trial.until("paused", *FINAL, within_s=DONE_S):
        await trial.act("resume")


def of_server(name: str) -> Strike:
    async def strike(trial: Trial) -> None:
        await asyncio.sleep(trial.chance.random())
        server = trial.site.servers[name]
        if trial.chance.random() < 0.5:
            await asyncio.to_thread(server.kill)
            trial.report.kills[f"{name} SIGKILL"] += 1
            await asyncio.sleep(trial.chance.random())
            await asyncio.to_thread(server.restart)
        else:
            await asyncio.to_thread(server.pause)
            await asyncio.sleep(2 * trial.chance.random())
            await asyncio.to_thread(server.resume)

    return strike


EVERYWHERE: Sequence[tuple[str, Strike]] = (
    ("SIGKILL", kill_someone),
    ("SIGKILL", kill_someone),
    ("scorer killed", kill_scorer),
    ("scorer killed", kill_scorer),
    ("scorer stopped and node killed", freeze_scorer),
    ("node stopped beyond the lease", freeze_node),
    ("SIGTERM", term_node),
    ("pause and resume", pause_and_resume),
    ("SIGKILL while it pauses", kill_while_pausing),
)
OF_SERVERS = tuple((f"{name} fails", of_server(name)) for name in ("postgres", "minio"))


async def judge(trial: Trial) -> list[str]:
    """What is wrong with the run of this round."""
    if not await trial.until(*FINAL, within_s=DONE_S):
        return [f"it is {await trial.status()} {DONE_S:g} s after the last fault"]
    run = await trial.ground.now(trial.run)
    if run.status != "succeeded":
        return [f"it is {run.status}: {run.reason} {run.message}"]
    wrong = []
    output = await trial.ground.output(run), await trial.ground.output(run, "bad_rows")
    if output != trial.expected:
        sizes = [(len(each or b""), len(wanted or b"")) for each, wanted in zip(output, trial.expected, strict=True)]
        wrong.append(f"other bytes than the undisturbed run's: {sizes} bytes and expected")
    if not await gone(trial):
        left = [process.pid for process in scorers(trial.site)]
        folders = leftovers(trial.site)
        wrong.append(f"it left {await rows_left(trial)} rows, the processes {left}, the folders {folders}")
    async with trial.ground.database.read() as session:
        query = select(Dataset.role, func.count()).where(Dataset.run_id == run.id, Dataset.status != "deleted")
        made = dict((await session.execute(query.group_by(Dataset.role))).all())
    if made != {"output": 1, "bad_rows": 1}:
        wrong.append(f"it made the datasets {made}")
    return wrong


async def gone(trial: Trial) -> bool:
    """Whether neither processes nor rows are left, soon."""
    deadline = time.monotonic() + GONE_S
    while scorers(trial.site) or leftovers(trial.site) or await rows_left(trial) != (0, 0):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_S)
    return True


async def rows_left(trial: Trial) -> tuple[int, int]:
    """Chunks in the ledger, and rows of processes."""
    async with trial.ground.database.read() as session:
        counts = [
            await session.scalar(select(func.count()).where(table.run_id == trial.run.id))
            for table in (RunChunk, RunProcess)
        ]
    return int(counts[0] or 0), int(counts[1] or 0)


async def open_trial(site: Installation, piece: Workpiece, seed: int, report: Report) -> Trial:
    """A site at work on which one run has ended undisturbed."""
    chance = random.Random(seed)
    client = Client(site.urls, Ledger(), chance, site.token)
    scene = Scene(site, client, chance)
    if site.migration is not None:
        site.migration.start()
        await scene.meets(lambda: site.migration is None or not site.migration.is_alive, HIT_S)
    await scene.revive()
    ground = Ground(open_database(site.database_url), open_store(site.artifacts_url, site.access), NO_KEY)
    trial = Trial(site, ground, scene, await piece.lay_out(ground), (None, None), report)
    trial.run = await ground.run(trial.job)
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
    faults = order.plan(number, has_servers=bool(trial.site.servers))
    if isinstance(faults[0][1], AtPoint):
        faults[0][1].arm(trial)
    trial.run = await trial.ground.run(trial.job)
    for name, strike in faults:
        await strike(trial)
        trial.scene.faults[name] += 1
        await trial.scene.revive()
    names = tuple(name for name, _ in faults)
    for words in await judge(trial):
        found = Violation(order.seed, number, "a run ends as if nothing had been", words, names, trial.site.folder)
        report.violations.append(found)
        tell(f"VIOLATION {found}")
    report.checked["a run ends as if nothing had been"] += 1
    report.rounds += 1
    report.settled_s.append(time.monotonic() - began)
    sum_up(trial)
    tell(f"round {number}: {time.monotonic() - began:.1f} s, {', '.join(names)}")


def sum_up(trial: Trial) -> None:
    """Move the scene's counts to the report."""
    scene, report = trial.scene, trial.report
    for kill in scene.kills:
        report.kills[f"{kill.role} {kill.how}"] += 1
    report.faults.update(scene.faults)
    report.missed.update(scene.missed)
    report.down_s += scene.down_s
    hits = trial.site.hits()
    report.hits[str(trial.site.folder)] = scene.faults.__class__(hits)
    scene.kills, scene.down_s = [], []
    scene.faults.clear()
    scene.missed.clear()


async def run_campaign(
    order: RunOrder,
    folder: Path,
    open_site: Callable[[Path, Forge], Installation],
    piece: Workpiece,
    report: Report,
    tell: Callable[[str], None],
    at_once: int = 1,
) -> None:
    """The rounds of an order, site after site, some at once."""
    forge = await asyncio.to_thread(Forge)
    turns = asyncio.Semaphore(at_once)

    async def one(numbers: range) -> None:
        async with turns:
            place = folder / f"runs-{order.seed}-{numbers.start}"
            place.mkdir(parents=True)
            site = await asyncio.to_thread(open_site, place, forge)
            trial = None
            try:
                trial = await open_trial(site, piece, order.seed, report)
                for number in numbers:
                    await round_of(trial, order, number, tell)
            except NeverBack as error:
                found = Violation(order.seed, numbers.start, "what was started answers", str(error), (), place)
                report.violations.append(found)
                tell(f"VIOLATION {found}")
            finally:
                if trial is not None:
                    await trial.scene.client.close()
                    await trial.ground.database.close()
                    await trial.ground.store.close()
                await asyncio.to_thread(site.close)

    try:
        async with asyncio.TaskGroup() as sites:
            for first in range(order.rounds.start, order.rounds.stop, order.rounds_per_site):
                sites.create_task(one(range(first, min(order.rounds.stop, first + order.rounds_per_site))))
    finally:
        forge.close()
