"""Signals between processes: PostgreSQL's LISTEN/NOTIFY on a connection of its own, after the commit, ids only.

What is lost costs a poll interval. `work` does not travel here but by the broker, to one worker instead of all; `later`
is heard by the process that committed it, and found by the others when they look.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import get_args

import asyncpg

from state.database import Database
from state.signals import Signal, SignalKind

log = logging.getLogger(__name__)

CHANNEL = "portside"
CARRIED: frozenset[SignalKind] = frozenset({"changed", "routing", "placement"})
MOST_BYTES = 7_900  # PostgreSQL takes less than 8,000 in one notice
MOST_WAITING = 10_000  # signals that wait for a server that is away; who reconnects is told to look at everything
ANSWER_S = 5.0  # a server that is silent for longer is taken for lost
ALIVE_EVERY_S = 10.0
SPACING_S = 0.005  # at most 200 notices a second from one process, however much it commits
AGAIN_S = 0.5
LOOK_AT_ALL = frozenset({Signal("routing"), Signal("placement")})

# What a connection, or the name of its host, can raise; asyncpg's own classes have no common root.
TROUBLE = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Notices:
    """Forwards what this process commits, and publishes to its listeners what the others say; on SQLite nothing."""

    def __init__(self, database: Database, url: str) -> None:
        """`url` is the database's own; a pooler in between must keep sessions (LISTEN is one)."""
        self._database, self._url = database, url
        self._waiting: set[Signal] = set()
        self._told = asyncio.Event()
        self._cut = asyncio.Event()
        self._listening = asyncio.Event()
        self._repeats = False
        self._own = 0  # the server's name for our connection: what we say ourselves comes back on it
        self._task: asyncio.Task[None] | None = None

    @property
    def is_listening(self) -> bool:
        """Whether the others are heard now."""
        return self._listening.is_set()

    async def start(self) -> None:
        """Begin to listen; a server that is away is waited for in the background."""
        if self._database.dialect == "postgresql":
            self._database.subscribe(self._hear)
            self._task = asyncio.create_task(self._run(), name="notices")

    async def stop(self) -> None:
        """Hear and say no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _hear(self, signals: frozenset[Signal]) -> None:
        if self._repeats or self._task is None or self._task.done():
            return
        carried = {signal for signal in signals if signal.kind in CARRIED}
        if carried and len(self._waiting) < MOST_WAITING:
            self._waiting |= carried
            self._told.set()

    async def _run(self) -> None:
        is_lost = False
        while True:
            try:
                async with self._connected() as connection:
                    if is_lost:
                        log.info("the other processes are heard again")
                    is_lost = False
                    await self._speak(connection)
            except TROUBLE as error:
                if not is_lost:
                    log.warning("the other processes are not heard (%s: %s)", type(error).__name__, error)
                is_lost = True
            await asyncio.sleep(AGAIN_S)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncpg.Connection]:
        self._cut.clear()
        connection = await asyncpg.connect(
            self._url,
            timeout=ANSWER_S,
            command_timeout=ANSWER_S,
            server_settings={"application_name": "portside notices"},
        )
        try:
            connection.add_termination_listener(lambda _: self._wake_to_reconnect())
            self._own = connection.get_server_pid()
            await connection.add_listener(CHANNEL, self._receive)
            self._listening.set()
            self._publish(LOOK_AT_ALL)  # nobody knows what was said before
            yield connection
        finally:
            self._listening.clear()
            connection.terminate()  # a farewell in good order would wait for a server that may be away

    def _wake_to_reconnect(self) -> None:
        self._cut.set()
        self._told.set()

    async def _speak(self, connection: asyncpg.Connection) -> None:
        """Say what waits, until the connection is cut."""
        while not self._cut.is_set():
            try:
                async with asyncio.timeout(ALIVE_EVERY_S):
                    await self._told.wait()
            except TimeoutError:
                await connection.execute("SELECT 1")  # a peer that vanished is only noticed by talking to it
                continue
            self._told.clear()
            waiting, self._waiting = self._waiting, set()
            for payload in payloads(waiting):
                await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)
            await asyncio.sleep(SPACING_S)

    def _receive(self, connection: asyncpg.Connection, sender: int, channel: str, payload: object) -> None:
        if sender != self._own:
            self._publish(frozenset(signals_of(str(payload))))

    def _publish(self, signals: frozenset[Signal]) -> None:
        self._repeats = True  # what was heard is not said again
        try:
            self._database.publish(signals)
        finally:
            self._repeats = False


def payloads(signals: Iterable[Signal]) -> Iterator[str]:
    """The signals as lines `kind name id`, in as few notices as their size allows."""
    lines: list[str] = []
    size = 0
    for signal in signals:
        line = f"{signal.kind} {signal.name} {signal.id}"
        size += len(line.encode()) + 1
        if size > MOST_BYTES and lines:
            yield "\n".join(lines)
            lines, size = [], len(line.encode()) + 1
        lines.append(line)
    if lines:
        yield "\n".join(lines)


def signals_of(payload: str) -> Iterator[Signal]:
    """The signals in a notice; what a newer release may say beside them is passed over."""
    for line in payload.split("\n"):
        parts = line.split(" ")
        for kind in get_args(SignalKind):
            if len(parts) == 3 and parts[0] == kind and kind in CARRIED:
                yield Signal(kind, parts[1], parts[2])
