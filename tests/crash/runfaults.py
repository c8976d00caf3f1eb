"""What goes wrong while a run is under way: a strike each, at a named point or by chance."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from tests.crash.runsites import scorers
from tests.crash.runtrial import DONE_S, FINAL, LOOK_S, Trial

HIT_S = 120.0  # long, as `DONE_S`
MEETS_S = 60.0  # likewise
SLOW_STOP = 1.6  # leases

Strike = Callable[[Trial], Awaitable[None]]


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
    """The scorers at some moment of their work; none where the run has ended before."""
    deadline = time.monotonic() + MEETS_S
    while not scorers(trial.site) and time.monotonic() < deadline:
        if await trial.status() in FINAL:
            return []
        trial.supervise()
        await asyncio.sleep(LOOK_S)
    await asyncio.sleep(trial.chance.random())
    return scorers(trial.site)


async def kill_scorer(trial: Trial) -> None:
    for process in await at_work(trial):
        with suppress(psutil.Error):
            process.kill()
            trial.note(process.pid, "scorer", "SIGKILL")


async def freeze_scorer(trial: Trial) -> None:
    """It stands still while its node is killed: the next one must end it."""
    for process in await at_work(trial):
        with suppress(psutil.Error):
            process.send_signal(signal.SIGSTOP)
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
            trial.note(server.pid, name, "SIGKILL")
            await asyncio.to_thread(server.kill)
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
OF_SERVERS: Sequence[tuple[str, Strike]] = tuple(
    (f"{name} fails", of_server(name)) for name in ("postgres", "minio", "redis")
)


def of_site(servers: Collection[str]) -> Sequence[tuple[str, Strike]]:
    """What can go wrong by chance on a site that has these servers."""
    return (*EVERYWHERE, *(fault for fault in OF_SERVERS if fault[0].split()[0] in servers))
