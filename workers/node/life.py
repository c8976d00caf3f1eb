"""One replica's process from its start to its end, as it is seen: a life writes no row, the supervisor compares."""

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from core.errors import PlatformError
from core.failpoints import failpoint
from workers.node.endings import Ending, describe, with_log
from workers.node.launch import Place
from workers.node.logs import last_lines
from workers.node.processes import Child, Identity, Program, spawn
from workers.node.sockets import is_ready

LINES_KEPT = 20
ASKED = Ending("stopped", None)
UNCERTAIN = Ending("platform_restarted", "the node could not be certain that it still is the node, and started nothing")


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often the node looks and how long it waits, in seconds."""

    look_s: float = 0.1
    idle_s: float = 1.0  # where every wish comes with a signal and nothing is pending
    check_starting_s: float = 0.025
    check_running_s: float = 1.0
    check_timeout_s: float = 2.0
    checks_missed: int = 3  # so many in a row make a ready replica unready
    unready_s: float = 10.0  # an unready replica that does not come back in this time is replaced
    linger_s: float = 1.0  # gateways take a leaving replica out of their tables in this time
    run_again_s: float = 0.5  # a run whose process died gets another one then, twice as late each time


@dataclass(frozen=True, slots=True)
class Patience:
    """How a replica is asked to end: SIGTERM after `linger_s`, SIGKILL `grace_s` later."""

    linger_s: float
    grace_s: float


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which conditions a replica lives. `token` is what its readiness check must show."""

    memory_mb: int | None
    token: str | None
    start_within_s: float
    rhythm: Rhythm


class Life:
    """The process of one replica. `answers` is its readiness, `ending` is there when all is over."""

    def __init__(
        self,
        prepare: Callable[[], Coroutine[None, None, Program]],
        place: Place,
        terms: Terms,
        *,
        may_begin: Callable[[], bool],
        changed: Callable[[], None],
    ) -> None:
        """`may_begin` is asked right before there is a process, `changed` is called whenever there is news."""
        self.answers = False
        self.ending: Ending | None = None
        self.place = place
        self._child: Child | None = None
        self._prepare, self._terms, self._rhythm = prepare, terms, terms.rhythm
        self._may_begin, self._changed = may_begin, changed
        self._asked: asyncio.Future[Patience] = asyncio.get_running_loop().create_future()

    @property
    def identity(self) -> Identity | None:
        """Which process it is, once there is one."""
        return self._child.identity if self._child else None

    @property
    def began(self) -> float | None:
        """Since when the process is there, by the monotonic clock."""
        return self._child.began if self._child else None

    @property
    def address(self) -> str | None:
        """Where it is reached, once that is known."""
        return self.place.address(self._child.port if self._child else None)

    def stop(self, patience: Patience) -> None:
        """Ask the process to end; once asked, it stays so."""
        if not self._asked.done():
            self._asked.set_result(patience)

    def kill(self) -> None:
        """End the process now."""
        self.stop(Patience(0, 0))
        if self._child is not None:
            self._child.kill()

    async def run(self) -> None:
        """Live from start to end; only a bug escapes."""
        try:
            self.ending = await self._live()
        except PlatformError as error:
            self.ending = Ending(error.code, error.message)
        except OSError as error:
            self.ending = Ending("start_failed", f"the model server cannot be started: {error}")
        self.answers = False
        self._changed()

    async def _live(self) -> Ending:
        program = await self._prepared()
        if program is None:
            return ASKED
        if not self._may_begin():
            return UNCERTAIN
        child = self._child = await spawn(program)
        failpoint("node_after_spawn")
        self._changed()
        watch = asyncio.create_task(self._watch())
        try:
            turns: set[asyncio.Future[Any]] = {child.ended, self._asked, watch}
            await asyncio.wait(turns, return_when=asyncio.FIRST_COMPLETED)
            verdict = watch.result() if watch.done() else None
            if self._asked.done() and not child.ended.done():
                await self._take_down(child, self._asked.result())
        finally:
            watch.cancel()
            child.kill()  # also what it has left behind in its process group
        code = await child.ended
        if verdict is None and self._asked.done():
            return ASKED
        lines = await asyncio.to_thread(last_lines, self.place.log_path, LINES_KEPT)
        if verdict is not None:
            return Ending(verdict.reason, with_log(verdict.message or verdict.reason, lines))
        return describe(code, lines, self._terms.memory_mb)

    async def _prepared(self) -> Program | None:
        """The program to start, or nothing when we are asked to end before (an artifact may take long to come)."""
        preparing = asyncio.create_task(self._prepare())
        try:
            turns: set[asyncio.Future[Any]] = {preparing, self._asked}
            await asyncio.wait(turns, return_when=asyncio.FIRST_COMPLETED)
            return None if self._asked.done() else preparing.result()
        finally:
            preparing.cancel()
            await asyncio.gather(preparing, return_exceptions=True)

    async def _take_down(self, child: Child, patience: Patience) -> None:
        await asyncio.wait({child.ended}, timeout=patience.linger_s if self.answers else 0)
        child.signal(signal.SIGTERM)
        await asyncio.wait({child.ended}, timeout=patience.grace_s)

    async def _watch(self) -> Ending:
        """Follow the readiness until it is given up; answers why."""
        rhythm = self._rhythm
        deadline = time.monotonic() + self._terms.start_within_s
        while not await self._check():
            if time.monotonic() > deadline:
                return Ending("start_timeout", f"not ready within {self._terms.start_within_s:g} s")
            await asyncio.sleep(rhythm.check_starting_s)
        self._tell(answers=True)
        missed, last_answer = 0, time.monotonic()
        while True:
            await asyncio.sleep(rhythm.check_running_s)
            if await self._check():
                missed, last_answer = 0, time.monotonic()
                self._tell(answers=True)
                continue
            missed += 1
            if missed == rhythm.checks_missed:
                self._tell(answers=False)
                unready_at = time.monotonic()
            if missed > rhythm.checks_missed and time.monotonic() - unready_at > rhythm.unready_s:
                silent_s = time.monotonic() - last_answer
                return Ending("unready", f"it did not answer its readiness check for {silent_s:.0f} s")

    async def _check(self) -> bool:
        address = self.address
        return address is not None and await is_ready(address, self._terms.token, self._rhythm.check_timeout_s)

    def _tell(self, *, answers: bool) -> None:
        if self.answers != answers:
            self.answers = answers
            self._changed()
