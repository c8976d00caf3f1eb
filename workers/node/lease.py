"""The right to be the node: over PostgreSQL one process holds the lease `node`, and who lost it writes no row any more.

A term lasts from an election until another node took over. Its epoch fences every write; its clock, which goes on while
the process is stopped, is asked before a process is started. SQLite belongs to one process: its term has no end.
"""

import asyncio
import logging
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from core.clock import to_micros
from core.errors import DatabaseBusy
from core.outages import Outage
from state.database import Database, WriteSession
from state.leases import elect, holder, resign, still_holds
from state.queries.node import NODE

log = logging.getLogger(__name__)

SHARE = 0.6  # of the caretakers' lease: with the successor's look all of it is less than that
LOOKS_PER_LEASE = 6
OWNER_FILE = "node.owner"


class TermOver(Exception):
    """Another node has taken over: this one must end what it runs, and may write nothing."""


class Term(Protocol):
    """The time in which this process is the node."""

    async def fence(self, session: WriteSession) -> None:
        """Hold the term until this transaction ends. Raises `TermOver`."""
        ...

    def is_certain(self) -> bool:
        """Whether nobody else can be the node at this moment."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether somebody else is known to be the node."""
        ...


class EndlessTerm:
    """Of a node whose database nobody else can open."""

    is_over = False

    async def fence(self, session: WriteSession) -> None:
        """Nothing can be in the way."""

    def is_certain(self) -> bool:
        """Always."""
        return True


class LeasedTerm:
    """Of a node that was elected."""

    def __init__(self, owner: str, epoch: int, lease_s: float, began: float) -> None:
        self.epoch, self.is_over = epoch, False
        self._owner, self._lease_s, self._renewed = owner, lease_s, began

    async def fence(self, session: WriteSession) -> None:
        """Hold the lease's row. Raises `TermOver`."""
        if self.is_over or not await still_holds(session, NODE, self._owner, self.epoch):
            self.is_over = True
            raise TermOver(f"the lease of epoch {self.epoch} is somebody else's now")

    def is_certain(self) -> bool:
        """Whether the lease cannot have run out."""
        return not self.is_over and time.monotonic() < self._renewed + self._lease_s

    def renewed(self, began: float) -> None:
        """The database has renewed it in a transaction that began then."""
        self._renewed = began


class Election:
    """Stands for election as the node of a database that several processes use."""

    def __init__(self, database: Database, data: Path, owner: str, lease_s: float) -> None:
        """The caller holds the lock of the folder `data`: whoever was elected from there before is dead."""
        self._database, self._file, self._owner, self._lease_s = database, data / OWNER_FILE, owner, SHARE * lease_s
        self._outage = Outage(log, "the node's lease cannot be renewed, nor can it be known whether a node is needed")

    async def begin(self) -> None:
        """Let go of what a former life in this folder held, which need not run out then. Raises `DatabaseBusy`."""
        former = await asyncio.to_thread(self._sign)
        if former:
            async with self._database.write() as session:
                await resign(session, former)

    def _sign(self) -> str:
        former = self._file.read_text("utf-8") if self._file.exists() else ""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(self._owner, "utf-8")
        return former

    async def stand(self) -> LeasedTerm | None:
        """Stand once; nothing if another node is elected. Raises `DatabaseBusy`."""
        began = time.monotonic()
        epoch = await self._elect()
        return None if epoch is None else LeasedTerm(self._owner, epoch, self._lease_s, began)

    async def win(self) -> LeasedTerm:
        """Wait until the node that is elected dies or resigns."""
        said = ""
        while True:
            try:
                term = await self.stand()
                self._outage.over()
                if term is not None:
                    return term
                said = await self._say_who_is(said)
                await asyncio.sleep(self._lease_s / LOOKS_PER_LEASE)
            except DatabaseBusy as error:
                self._outage.met(error.message)
                # When the database comes back, the node that was elected must be able to renew before we look.
                await asyncio.sleep(self._lease_s)

    async def keep(self, term: LeasedTerm) -> None:
        """Renew the lease until the term is over; a database that is away is no reason to end what serves."""
        while not term.is_over:
            await asyncio.sleep(self._lease_s / 3)
            began = time.monotonic()
            try:
                epoch = await self._elect()
                self._outage.over()
                if epoch == term.epoch:
                    term.renewed(began)
                else:
                    term.is_over = True
            except DatabaseBusy as error:
                self._outage.met(error.message)

    async def resign(self) -> None:
        """Let go, so that another node need not wait."""
        with suppress(DatabaseBusy):
            async with self._database.write() as session:
                await resign(session, self._owner)

    async def _elect(self) -> int | None:
        try:
            # A connection whose other end vanished would hang for a quarter of an hour.
            async with asyncio.timeout(self._lease_s), self._database.write() as session:
                held = await elect(session, [NODE], self._owner, to_micros(timedelta(seconds=self._lease_s)))
        except TimeoutError as error:
            raise DatabaseBusy(f"the database did not answer within {self._lease_s:g} s") from error
        return held.get(NODE)

    async def _say_who_is(self, said: str) -> str:
        async with self._database.read() as session:
            who = await holder(session, NODE) or ""
        if who != said:
            log.warning("%s is the node of this installation; this one waits, and takes over when that one ends", who)
        return who
