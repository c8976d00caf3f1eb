"""What goes wrong in a round: one act each, with the stories of clients that meet it."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from core.failpoints import POINTS
from tests.crash.installation import Installation, Member
from tests.crash.ledger import Client
from tests.crash.workload import Story, cancels, cascades, endpoints, predictions, services, sweeps, uploads, verbs

START_S = 60.0
HIT_S = 3.0
ON_THE_WAY_S = 30.0
SWEPT_S = 7.0  # a blob is idle, then doomed, then deleted
LOOK_S = 0.02
SMALL_FILE_BYTES = 4096  # less than any file that grows: every write is one to a full disk

LIGHT: Sequence[Story] = (predictions, predictions, endpoints, cancels)
HEAVY: Sequence[Story] = (uploads, services, verbs, sweeps, cascades)
NEEDED: Mapping[str, Story] = {  # who comes by there
    "put_before_rename": uploads,
    "blob_before_touch": uploads,
    "blob_before_version": uploads,
    "sweep_before_bury": sweeps,
    "watch_before_commit": services,
    "node_before_spawn": services,
    "node_after_spawn": services,
    "node_before_record": services,
}
OF_HANDLERS = ("after_claim", "before_effect", "after_effect", "before_final_commit", "after_final_commit")
AT_START = ("rescue_before_commit", "migration_before_rows", "node_before_spawn", "node_after_spawn")
ONLY_FIRST = "migration_step"  # a schema is made once: the campaign arms it when it opens a site
ALWAYS_EARLY = ("rescue_before_commit", "migration_before_rows")


class NeverBack(Exception):
    """What was started again does not answer: nothing else can be learnt from this installation."""


@dataclass(frozen=True)
class Kill:
    """A process that was killed, and when by the wall clock in microseconds."""

    pid: int
    role: str
    how: str
    at: int


@dataclass
class Scene:
    """One installation, what has been done to it, and how to bring it back."""

    site: Installation
    client: Client
    chance: random.Random
    kills: list[Kill] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    down_s: list[float] = field(default_factory=list)
    start_s: float = START_S
    clients: Sequence[asyncio.Task[None]] = ()  # whose stories were begun in this round

    def kill(self, member: Member, how: str) -> None:
        self.note(member, how)
        member.kill()

    def found_dead(self, how: str) -> None:
        """Note who has died by itself, as a failpoint has it."""
        dead = self.site.dead()
        if not dead and self.site.migration is not None:
            dead = [self.site.migration]
        for member in dead:
            self.note(member, how)

    def note(self, member: Member, how: str) -> None:
        """Remember a death."""
        self.kills.append(Kill(member.pid, member.role, how, time.time_ns() // 1000))

    def start_dead(self, name: str = "") -> None:
        """Start what is dead; the one-shot that makes the schema for its own failpoints."""
        for member in self.site.dead():
            member.start()
        if name.startswith("migration") and self.site.migration is not None:
            self.site.migration.start()

    async def revive(self) -> None:
        """Start what is dead until all live and answer."""
        began = time.monotonic()
        dead = self.site.dead()
        while True:
            self.start_dead()
            if not self.site.dead() and await self._answers():
                break
            if time.monotonic() > began + self.start_s:
                names = [member.name for member in self.site.dead()]
                raise NeverBack(f"no answer {self.start_s:g} s after the last death; dead: {names}")
            await asyncio.sleep(LOOK_S)
        if any(member.role in ("platform", "api") for member in dead):
            self.down_s.append(time.monotonic() - began)

    async def _answers(self) -> bool:
        for url in self.site.urls:
            answer = await self.client.get("/readyz", url)
            if answer is None or answer.status_code != 200:
                return False
        return True

    def anyone(self) -> Member:
        return self.chance.choice([member for member in self.site.members if member.is_alive])

    async def meets(self, look: Callable[[], bool], longest_s: float) -> bool:
        deadline = time.monotonic() + longest_s
        while not look():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    async def comes_by(self, look: Callable[[], bool], longest_s: float) -> bool:
        """The same; on a machine with other work clients may still be on their way."""
        began = time.monotonic()
        while not await self.meets(look, longest_s):
            longest_s = LOOK_S
            if time.monotonic() > began + ON_THE_WAY_S or all(client.done() for client in self.clients):
                return False
        return True


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong; `stories` are begun just before it."""

    name: str
    strike: Callable[[Scene], Awaitable[None]]
    stories: Sequence[Story] = ()


Chosen = Callable[[random.Random], Fault]


def at_failpoint(name: str, chance: random.Random, action: str | None = None, count: int | None = None) -> Fault:
    """Die at a named place (or stop there beyond the lease, or raise), the first time or one of the next."""
    is_early = name in ALWAYS_EARLY or (name in AT_START and (count == 1 or chance.random() < 0.7))
    is_rare = is_early or name == "sweep_before_bury"
    count = 1 if is_rare else count or chance.choice((1, 1, 2, 3))
    action = action or chance.choice(("kill", "kill", "kill", "kill", "stop", "raise"))
    if name == "migration_before_rows":
        action = "kill"  # a start that fails otherwise is no fault, it is a start that failed

    async def strike(scene: Scene) -> None:
        if is_early:
            await _die_first(scene, name)
        hits = len(scene.site.hits())
        scene.site.arm(f"{name}={action}@{count}")
        if is_early:
            scene.start_dead(name)
        longest_s = SWEPT_S if name == "sweep_before_bury" else HIT_S + scene.site.lease_s
        is_hit = await scene.comes_by(lambda: len(scene.site.hits()) > hits, longest_s)
        scene.site.disarm()
        if is_hit:
            await _after(scene, name, action)
        else:
            scene.missed[name] += 1

    return Fault(f"failpoint {action}", strike, _provoking(name, chance))


async def _die_first(scene: Scene, name: str) -> None:
    """Leave something to do to who starts, or takes over: a dead process, with work in its hands if that is wanted."""
    if name == "rescue_before_commit":
        scene.site.arm("after_claim=kill@1")
        await scene.comes_by(lambda: bool(scene.site.dead()), HIT_S)
        scene.site.disarm()
        scene.found_dead("at after_claim")
    elif name.startswith("node"):
        scene.kill(scene.site.of_role("platform", "node")[0], "SIGKILL")
    elif scene.site.migration is None:
        scene.kill(scene.site.members[0], "SIGKILL")
    else:
        return  # the one-shot can be run beside the living
    await scene.meets(lambda: bool(scene.site.dead()), HIT_S)


async def _after(scene: Scene, name: str, action: str) -> None:
    if action == "kill":
        await scene.meets(lambda: bool(scene.site.dead()) or name.startswith("migration"), START_S)
        scene.found_dead(f"at {name}")
    if action == "stop":
        await asyncio.sleep(scene.site.lease_s * scene.chance.uniform(1.2, 2.0))
        for member in scene.site.members:
            member.send(signal.SIGCONT)


def _provoking(name: str, chance: random.Random) -> Sequence[Story]:
    needed = NEEDED.get(name)
    if needed is not None:
        return (needed, predictions)
    return (predictions, chance.choice(HEAVY if name in OF_HANDLERS else (*LIGHT, *HEAVY)))


def by_chance(chance: random.Random) -> Fault:
    """kill -9 of any process at any time."""

    async def strike(scene: Scene) -> None:
        await asyncio.sleep(1.2 * scene.chance.random())
        scene.kill(scene.anyone(), "SIGKILL")

    return Fault("SIGKILL", strike, (predictions, chance.choice(HEAVY)))


def of_model_server(chance: random.Random) -> Fault:
    """A model server dies; the node starts another."""

    async def strike(scene: Scene) -> None:
        await asyncio.sleep(0.5 * scene.chance.random())
        found = sorted(scene.site.model_servers().items())
        if found:
            with suppress(psutil.Error):
                scene.chance.choice(found)[1].kill()

    return Fault("model server killed", strike, (predictions, chance.choice((services, verbs))))


def frozen(chance: random.Random) -> Fault:
    """SIGSTOP for longer than a lease: who comes back holds nothing any more."""

    async def strike(scene: Scene) -> None:
        await asyncio.sleep(0.8 * scene.chance.random())
        member = scene.anyone()
        member.send(signal.SIGSTOP)
        await asyncio.sleep(scene.site.lease_s * scene.chance.uniform(1.2, 2.0))
        member.send(signal.SIGCONT)

    return Fault("SIGSTOP beyond the lease", strike, (predictions, chance.choice(HEAVY)))


def drained(chance: random.Random) -> Fault:
    """SIGTERM: what runs is finished or handed back."""

    async def strike(scene: Scene) -> None:
        await asyncio.sleep(0.8 * scene.chance.random())
        member = scene.anyone()
        member.send(signal.SIGTERM)
        if not await scene.meets(lambda: not member.is_alive, 8.0):
            scene.missed["SIGTERM was not enough"] += 1
            scene.kill(member, "SIGKILL after SIGTERM")

    return Fault("SIGTERM", strike, (predictions, chance.choice(HEAVY)))


def full_disk(chance: random.Random) -> Fault:
    """No file of a process can grow for a while: as a full disk, by the kernel's own limit."""

    async def strike(scene: Scene) -> None:
        await asyncio.sleep(0.3 * scene.chance.random())
        member = scene.anyone()
        member.limit_files(SMALL_FILE_BYTES)
        await asyncio.sleep(scene.chance.uniform(0.2, 1.0))
        if member.is_alive:
            member.limit_files(None)

    return Fault("disk full", strike, (uploads, predictions))


EVERYWHERE: Sequence[Chosen] = (by_chance, by_chance, of_model_server, frozen, drained, full_disk)
OF_RUNS: Sequence[str] = tuple(name for name in POINTS if name.startswith(("run_", "chunk_")))  # `runcampaign`
# Other campaigns reach these; `ticks` kills its schedulers wherever they are.
ELSEWHERE: Sequence[str] = (*OF_RUNS, "tick_before_commit")
REPEATED: Sequence[str] = tuple(name for name in POINTS if name != ONLY_FIRST and name not in ELSEWHERE)
