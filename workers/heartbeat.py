"""Keeps one claim alive while its handler runs, and ends the handler when the claim is lost or somebody cancels."""

import asyncio
import logging
import time
from typing import Literal

from core.errors import DatabaseBusy
from state.claims import Claim, ClaimLost, renew, standing
from state.database import Database
from workers.resources import Held

log = logging.getLogger(__name__)

Verdict = Literal["lost", "canceled", "stopped"]


class Heartbeat:
    """The watch over one running handler; `verdict` says why it was ended early, if it was."""

    def __init__(self, database: Database, held: Held, lease_micros: int, work: asyncio.Task[object]) -> None:
        self.verdict: Verdict | None = None
        self._database, self._held, self._lease_micros, self._work = database, held, lease_micros, work
        self._hurried = asyncio.Event()

    @property
    def claim(self) -> Claim:
        """What is kept alive."""
        return self._held.claim

    def hurry(self) -> None:
        """The row changed: look now, not at the next beat."""
        self._hurried.set()

    def end(self, verdict: Verdict) -> None:
        """Cancel the handler; the first verdict counts."""
        if self.verdict is None:
            self.verdict = verdict
            self._work.cancel()

    async def beat(self) -> None:
        """Renew the lease each third of it, until the work must end."""
        lease_s = self._lease_micros / 1_000_000
        beat_at = time.monotonic() + lease_s / 3
        while self.verdict is None:
            hurried = await self._pause(beat_at - time.monotonic())
            began = time.monotonic()
            try:
                canceled = await self._look(renews=not hurried)
            except ClaimLost:
                return self.end("lost")
            except DatabaseBusy:
                # Once the lease is over another worker may take the row, and the database cannot tell us.
                if self._held.lease.is_over:
                    log.warning("%s: the database is away and the lease is over; the work is given up", self.claim.id)
                    return self.end("lost")
                beat_at = time.monotonic() + lease_s / 10
                continue
            if canceled:
                return self.end("canceled")
            if not hurried:
                # Counted from before the renewal was sent: the database may have counted from then.
                self._held.lease.until = began + lease_s
                beat_at = began + lease_s / 3
        return None

    async def _pause(self, seconds: float) -> bool:
        """Wait for the beat; answers whether something hurried it."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._hurried.wait()
        except TimeoutError:
            return False
        self._hurried.clear()
        return True

    async def _look(self, *, renews: bool) -> bool:
        if renews:
            async with self._database.write() as session:
                return await renew(session, self.claim, self._lease_micros)
        async with self._database.read() as session:
            return await standing(session, self.claim)
