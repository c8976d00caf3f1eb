"""Rounds of faults on one installation after the other, the invariants after each, and the table at the end."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from core.errors import DatabaseBusy
from state.database import Database, open_database
from storage.base import ArtifactStore
from storage.open import open_store
from tests.crash.artifacts import onnx_artifact
from tests.crash.evidence import Evidence, Places, count_of_moves, gather, unsettled
from tests.crash.faults import EVERYWHERE, ONLY_FIRST, REPEATED, Chosen, Fault, Kill, NeverBack, Scene, at_failpoint
from tests.crash.forge import Forge
from tests.crash.installation import Installation
from tests.crash.invariants import INVARIANTS
from tests.crash.ledger import Client, Ledger
from tests.crash.receiver import Receiver, listening
from tests.crash.report import Report, Violation
from tests.crash.workload import MODEL, MOST_SERVICES, STEADY, Workload, World

SETTLED_S = 15.0
QUIET_S = 0.25  # at rest is what rests for so long: one thing may begin when another ends
FIRST_S = 60.0
SLOW = 10
Open = Callable[[Path, Forge], Installation]


@dataclass(frozen=True)
class Order:
    """What a campaign shall do. Round `number` of a seed is the same whenever it is run on a new site."""

    seed: int
    rounds: range
    rounds_per_site: int = 25
    acts: tuple[int, int] = (2, 4)
    settled_s: float = SETTLED_S
    faults: Sequence[Chosen] = EVERYWHERE
    points: Sequence[str] = REPEATED
    action: str | None = None
    first_points: Sequence[str] = (ONLY_FIRST, "migration_before_rows")
    most_services: int = MOST_SERVICES

    def sites(self) -> Iterator[range]:
        """The rounds of each site; a site begins at a multiple of its size, so that a round can be run again."""
        first = self.rounds.start
        while first < self.rounds.stop:
            last = min(self.rounds.stop, (first // self.rounds_per_site + 1) * self.rounds_per_site)
            yield range(first, last)
            first = last

    def plan(self, number: int) -> list[Fault]:
        """The acts of a round: the failpoints in turn, in an order of the seed's, and other faults between them."""
        chance = random.Random(f"{self.seed}/{number}/plan")
        order = random.Random(f"{self.seed}/points").sample(list(self.points), len(self.points))
        count = chance.randint(*self.acts)
        points = [order[(number * 2 + index) % len(order)] for index in range(min(2, count))]
        planned = [at_failpoint(point, chance, self.action) for point in points]
        planned += [chance.choice(self.faults)(chance) for _ in range(count - len(planned))]
        chance.shuffle(planned)
        return planned


@dataclass
class Run:
    """One site and its rounds."""

    order: Order
    site: Installation
    receiver: Receiver
    report: Report
    tell: Callable[[str], None] = lambda words: None
    world: World = field(init=False)
    deleted: frozenset[str] = frozenset()
    replayed: int = 0
    told: set[str] = field(default_factory=set)
    client: Client = field(init=False)
    scene: Scene = field(init=False)
    database: Database = field(init=False)
    store: ArtifactStore = field(init=False)

    def __post_init__(self) -> None:
        chance = random.Random(self.order.seed)
        self.client = Client(self.site.urls, Ledger(), chance, self.site.token)
        self.scene = Scene(self.site, self.client, chance)
        self.world = World(most_services=self.order.most_services)
        self.database = open_database(self.site.database_url)
        self.store = open_store(self.site.artifacts_url, self.site.access)

    async def all(self, numbers: range) -> range:
        """Begin, then each round, then the end of the site; the rounds that are left when it did not come back."""
        number, faults = numbers.start, list[Fault]()
        try:
            await self.begin(number)
            for number in numbers:
                faults = self.order.plan(number)
                await self.round(number, faults)
        except NeverBack as error:
            names = tuple(fault.name for fault in faults)
            self._found(number, "what was started answers", str(error), names)
            return range(number + 1, numbers.stop)
        finally:
            await self.close()
        return range(0)

    async def close(self) -> None:
        """End the site and all that looks at it."""
        self._sum_up()
        await self.client.close()
        await self.database.close()
        await self.store.close()
        await asyncio.to_thread(self.site.close)

    async def round(self, number: int, faults: Sequence[Fault]) -> None:
        """One round: acts, healing, rest, judgement."""
        began = time.monotonic()
        self._at(number)
        self.client.tolerates_500 = any(fault.name == "failpoint raise" for fault in faults)
        async with ending_with_us() as clients:
            self.scene.clients = clients
            for fault in faults:
                clients.append(asyncio.create_task(self.work(number).run(fault.stories)))
                self.scene.faults[fault.name] += 1
                await fault.strike(self.scene)
                await self.scene.revive()
            await asyncio.gather(*clients)
        left = await self._settle()
        names = tuple(fault.name for fault in faults)
        await self._judge(number, names, left)
        self.report.rounds += 1
        self.tell(f"round {number}: {time.monotonic() - began:.1f} s, {', '.join(names)}")

    def work(self, number: int) -> Workload:
        """Clients of this round."""
        return Workload(self.client, self.world, self.scene.chance, self.receiver.url, f"r{number}")

    def _at(self, number: int) -> None:
        """The chance of a round."""
        self.client.chance = self.scene.chance = random.Random(f"{self.order.seed}/{number}")

    async def begin(self, number: int) -> None:
        """An empty folder becomes a platform, however often that is interrupted; then what every round needs."""
        self._at(number)
        maker = self.site.migration or self.site.members[0]
        for point in self.order.first_points:
            self.site.arm(f"{point}=kill@1")
            maker.start()
            await self.scene.meets(lambda: not maker.is_alive, FIRST_S)
            self.site.disarm()
            self.scene.note(maker, f"at {point}")
        if self.site.migration is not None:
            maker.start()
            await self.scene.meets(lambda: not maker.is_alive, FIRST_S)
        await self.scene.revive()
        work = self.work(number)
        await work.change("POST", "/api/v1/webhooks", {"url": f"{self.receiver.url}/all", "events": ["*"]})
        await work.wait(await work.upload(MODEL, onnx_artifact("steady").content), FIRST_S)
        await work.wait(await work.change("POST", "/api/v1/services", {"name": STEADY, "model": MODEL}), FIRST_S)
        self.scene.down_s = []  # a first start is no recovery

    async def _settle(self) -> Sequence[str]:
        """Until nothing is under way, or the time for that is over: what is left then.

        On a machine with other work an inspection or a start may need longer; while one still runs, or rows still move,
        there is time.
        """
        began = moved_at = time.monotonic()
        moves = 0
        over_at = began + self.order.settled_s
        quiet_since: float | None = None
        left = ["an answer of the database"]
        while time.monotonic() < over_at:
            with suppress(DatabaseBusy):
                async with self.database.read() as session:
                    left, before = await unsettled(session, self.site), moves
                    moves = await count_of_moves(session)
                moved_at = time.monotonic() if moves != before else moved_at
                quiet_since = None if left else quiet_since or time.monotonic()
                if quiet_since is not None and time.monotonic() - quiet_since >= QUIET_S:
                    self.report.settled_s.append(time.monotonic() - began)
                    return ()
            await asyncio.sleep(QUIET_S / 2)
            is_moving = time.monotonic() - moved_at < self.order.settled_s / 3
            has_time = time.monotonic() < began + SLOW * SETTLED_S
            if over_at - time.monotonic() < 1 and has_time and (is_moving or self._working()):
                over_at += self.order.settled_s / 3
        return left

    def _working(self) -> list[psutil.Process]:
        young = [each for each in self.site.model_servers().values() if time.time() - each.create_time() < SETTLED_S]
        return [*self.site.short_children(), *young]

    async def _judge(self, number: int, faults: tuple[str, ...], left: Sequence[str]) -> None:
        replayed = self.client.ledger.acknowledged[self.replayed :]
        self.replayed = len(self.client.ledger.acknowledged)
        places = Places(self.site, self.database, self.store, self.client, self.receiver)
        seen = await gather(places, replayed, self.deleted, left)
        for name, invariant in INVARIANTS.items():
            self.report.checked[name] += 1
            for words in invariant(seen):
                if words not in self.told:  # what is wrong stays so: told once
                    self.told.add(words)
                    self._found(number, name, words, faults)
        rows = seen.rows
        self.deleted = frozenset(row.id for row in rows.services if row.status == "deleted")
        self.deleted |= {row.id for row in rows.versions if row.status == "deleted"}
        self.report.running_again_s += recoveries(seen, self.scene.kills)
        self._sum_up()

    def _found(self, number: int, invariant: str, words: str, faults: tuple[str, ...]) -> None:
        found = Violation(self.order.seed, number, invariant, words, faults, self.site.folder)
        self.report.violations.append(found)
        self.tell(f"VIOLATION {found}")

    def _sum_up(self) -> None:
        """Move the scene's counts to the report."""
        scene, report = self.scene, self.report
        for kill in scene.kills:
            report.kills[f"{kill.role} {kill.how}"] += 1
        report.faults.update(scene.faults)
        report.missed.update(scene.missed)
        report.down_s += scene.down_s
        report.hits[str(self.site.folder)] = Counter(self.site.hits())
        report.acknowledged[str(self.site.folder)] = len(self.client.ledger.acknowledged)
        scene.kills, scene.faults, scene.missed, scene.down_s = [], Counter(), Counter(), []


@asynccontextmanager
async def ending_with_us() -> AsyncIterator[list[asyncio.Task[None]]]:
    """Tasks that are cancelled where the block ends before they do."""
    tasks: list[asyncio.Task[None]] = []
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def recoveries(seen: Evidence, kills: Sequence[Kill]) -> Iterator[float]:
    """Seconds from the death of who worked on something to the moment when somebody works on it again."""
    for changes in seen.rows.history.values():
        for start, rescue, again in zip(changes, changes[1:], changes[2:], strict=False):
            if (start.move, rescue.move, rescue.actor, again.move) != ("start", "requeue", "rescuer", "start"):
                continue
            deaths = [kill.at for kill in kills if f":{kill.pid}:" in start.actor and start.at <= kill.at <= again.at]
            yield from ((again.at - at) / 1_000_000 for at in deaths[:1])


async def run(
    order: Order, folder: Path, open_site: Open, report: Report, tell: Callable[[str], None], at_once: int = 1
) -> None:
    """The rounds of an order, some sites at once, in folders below `folder`."""
    forge = await asyncio.to_thread(Forge)
    turns = asyncio.Semaphore(at_once)

    async def one(numbers: range) -> None:
        async with turns:
            while numbers:
                place = folder / f"site-{order.seed}-{numbers.start}"
                place.mkdir(parents=True)
                site = await asyncio.to_thread(open_site, place, forge)
                with listening() as receiver:
                    numbers = await Run(order, site, receiver, report, tell).all(numbers)

    try:
        async with asyncio.TaskGroup() as sites:
            for numbers in order.sites():
                sites.create_task(one(numbers))
    finally:
        forge.close()
