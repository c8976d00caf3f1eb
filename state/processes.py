"""The processes of an installation as rows: each says that it is there, what it is, and goodbye."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite

from core.errors import DatabaseBusy, Json
from core.outages import Outage
from state.database import Database, db_now
from state.installation import Process

log = logging.getLogger(__name__)

SEEN_EVERY_S = 5.0
ALIVE_MICROS = 15_000_000  # three beats: who was not seen for so long is taken for dead
FORGOTTEN_MICROS = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Self:
    """What a process says of itself; `address` is where others reach it."""

    id: str
    role: str
    host: str
    pid: int
    version: str
    schema: str
    address: str | None = None


class Presence:
    """Keeps one process' row fresh; a database that is away is no reason to stop anything."""

    def __init__(self, database: Database, me: Self, details: Callable[[], Mapping[str, Json]] = dict) -> None:
        self._database, self._me, self._details = database, me, details
        self._outage = Outage(log, "this process cannot say that it is there")
        self._task: asyncio.Task[None] | None = None

    async def start(self, *, alone: bool = False) -> None:
        """Write the row, then keep it fresh until `stop`; `alone` says that no other process can be. Raises
        `DatabaseBusy`."""
        if alone:
            async with self._database.write() as session:
                await session.execute(delete(Process))
        await self._write()
        self._task = asyncio.create_task(self._keep_fresh(), name="presence")

    async def stop(self) -> None:
        """Say goodbye."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        with suppress(DatabaseBusy):
            async with self._database.write() as session:
                await session.execute(delete(Process).where(Process.id == self._me.id))

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(SEEN_EVERY_S)
            try:
                await self._write()
                self._outage.over()
            except DatabaseBusy as error:
                self._outage.met(error.message)
            except Exception:  # who fell silent for good would be taken for dead, and is not
                log.exception("this process cannot say that it is there, and tries again")

    async def _write(self) -> None:
        me = self._me
        insert = postgresql.insert if self._database.dialect == "postgresql" else sqlite.insert
        values = {
            "id": me.id,
            "role": me.role,
            "host": me.host,
            "pid": me.pid,
            "version": me.version,
            "schema": me.schema,
            "address": me.address,
            "details": {"pools": self._pools(), **self._details()},
        }
        row = insert(Process).values(**values, started_at=db_now(), seen_at=db_now())
        fresh = {"details": row.excluded.details, "address": row.excluded.address, "seen_at": row.excluded.seen_at}
        async with self._database.write() as session:
            await session.execute(row.on_conflict_do_update(index_elements=[Process.id], set_=fresh))
            await session.execute(delete(Process).where(Process.seen_at < db_now() - FORGOTTEN_MICROS))

    def _pools(self) -> dict[str, Json]:
        return {pool.name: {"size": pool.size, "in_use": pool.in_use} for pool in self._database.pools()}
