"""What is switched off, as one process knows it: read every second for all requests, at once after a change here.

It serves on while the database is away; an end that was set is kept without looking.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress

from core.errors import DatabaseBusy
from core.outages import Outage
from state.database import Database
from state.signals import Signal
from state.switches import Off, read_switches, refusal

log = logging.getLogger(__name__)

REFRESH_S = 1.0  # every process honours a change within two


class Switchboard:
    """The switches that are off; to ask neither waits nor touches the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._off: Mapping[str, Off] = {}
        self._lock = asyncio.Lock()
        self._hurry = asyncio.Event()
        self._outage = Outage(log, "the switches could not be read")
        self._task: asyncio.Task[None] | None = None
        database.subscribe(self._hear)

    def check(self, name: str) -> None:
        """Raises `SwitchedOff` (`ReadOnly`) while the switch is off."""
        off = self._off.get(name)
        if off is not None and not off.is_over:
            raise refusal(off)

    async def refresh(self) -> None:
        """Read the switches again. Raises `DatabaseBusy`, keeping what was known."""
        # One after the other: what was read before a change must not be kept in the place of what was read after it.
        async with self._lock, self._database.read() as session:
            self._off = await read_switches(session)

    async def start(self) -> None:
        """Read the switches and keep them fresh until `close`."""
        await self.refresh()
        self._task = asyncio.create_task(self._keep_fresh(), name="switchboard")

    async def close(self) -> None:
        """Stop refreshing."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _keep_fresh(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S):
                    await self._hurry.wait()
            self._hurry.clear()
            try:
                await self.refresh()
                self._outage.over()
            except DatabaseBusy as error:
                self._outage.met(error.message)
            except Exception:  # without this loop no switch is ever seen again
                log.exception("the switches could not be read, and are tried again")

    def _hear(self, signals: frozenset[Signal]) -> None:
        if any(signal.kind == "changed" and signal.name == "switch" for signal in signals):
            self._hurry.set()
