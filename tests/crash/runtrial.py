"""One site of a campaign of runs, its rounds, and the run of the present one."""

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field

from core.errors import IllegalMove, PlatformError
from state.jobtables import Job, Run
from state.running import Verb
from tests.crash.faults import Kill, Scene
from tests.crash.installation import Installation
from tests.crash.report import Report
from tests.crash.runshapes import Shape
from tests.workers.runrows import Ground

FINAL = ("succeeded", "failed", "stopped")
DONE_S = 300.0  # long: beside other work a round has taken two minutes
LOOK_S = 0.03
SUPERVISED_S = 1.0


@dataclass
class Trial:
    """One site, its rounds, and the run of the present one."""

    site: Installation
    shape: Shape
    ground: Ground
    scene: Scene
    job: Job
    report: Report
    run: Run = field(init=False)
    undisturbed: Run = field(init=False)
    expected: tuple[bytes | None, bytes | None] = (None, None)
    supervised_at: float = 0.0

    @property
    def chance(self) -> random.Random:
        return self.scene.chance

    def note(self, pid: int, who: str, how: str) -> None:
        """Remember a death of who is no member of the platform: a scorer, a server."""
        self.scene.kills.append(Kill(pid, who, how, time.time_ns() // 1000))

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
            self.supervise()
            await asyncio.sleep(LOOK_S)
        return True

    def supervise(self) -> None:
        """Start again, once a second, who has ended by itself: as a node whose database is slow when it starts."""
        if time.monotonic() > self.supervised_at + SUPERVISED_S:
            self.supervised_at = time.monotonic()
            self.scene.start_dead()

    async def close(self) -> None:
        """Let go of what looks at the site."""
        await self.scene.client.close()
        await self.ground.database.close()
        await self.ground.store.close()
