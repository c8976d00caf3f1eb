"""Writes outcomes: whatever of one lane ends while a transaction runs goes into the next one, together."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextvars import Context
from dataclasses import dataclass, replace
from datetime import timedelta

from core.errors import DatabaseBusy
from core.failpoints import failpoint
from state.claims import ClaimLost
from state.database import Database
from state.direct import direct_write
from state.endings import Locked, lock_all_held
from workers.outcomes import Wait
from workers.recording import Verdict, record
from workers.resources import Held
from workers.tracing import work_context

MOST_TOGETHER = 64  # bounds how long their rows, and those of their targets, are locked


@dataclass(frozen=True, slots=True)
class _Entry:
    """One outcome on its way; the future tells how its writing went."""

    held: Held
    verdict: Verdict
    written: asyncio.Future[None]

    def settle(self, error: Exception | None) -> None:
        if self.written.done():
            return
        if error is None:
            self.written.set_result(None)
        else:
            self.written.set_exception(error)


class Recorder:
    """The recorder of one lane."""

    def __init__(self, database: Database, owner: str, attempts: int) -> None:
        """`attempts`: how many work may use whose kind does not say."""
        self._database, self._owner, self._attempts = database, owner, attempts
        self._waiting: list[_Entry] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, held: Held, verdict: Verdict) -> None:
        """Write what the outcome means, if the claim still stands. Raises `ClaimLost`, `DatabaseBusy`."""
        entry = _Entry(held, verdict, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        if self._writing is None or self._writing.done():
            # In a context of its own: what it writes for others is not of the request that came first.
            draining = self._drain()
            self._writing = asyncio.create_task(draining, name=f"record {held.claim.lane}", context=Context())
        await entry.written

    async def _drain(self) -> None:
        while self._waiting:
            entries, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
            error = await _error_of(self._write(entries))
            if error is not None and not isinstance(error, DatabaseBusy) and len(entries) > 1:
                # One of them cannot be written: that is no reason for the others.
                for entry in entries:
                    entry.settle(await _error_of(self._write([entry])))
            elif error is not None:
                for entry in entries:
                    entry.settle(error)

    async def _write(self, entries: Sequence[_Entry]) -> None:
        async with direct_write(self._database) as session:
            found = await lock_all_held(session, [(entry.held.claim, entry.held.row) for entry in entries])
            for entry, locked in zip(entries, found, strict=True):
                if locked is None:
                    continue
                with work_context(entry.held.row):
                    await record(session, locked, _seen(entry, locked), self._owner, self._attempts)
            failpoint("before_final_commit")
        failpoint("after_final_commit")
        for entry, locked in zip(entries, found, strict=True):
            claim = entry.held.claim
            lost = ClaimLost(f"the claim on {claim.id} (epoch {claim.epoch}) is no longer ours")
            entry.settle(lost if locked is None else None)


async def _error_of(work: Awaitable[None]) -> Exception | None:
    try:
        await work
    except Exception as error:
        return error
    return None


def _seen(entry: _Entry, locked: Locked) -> Verdict:
    """What it waits for may have changed after the handler looked (see `claims.wake`): then it does not wait."""
    if isinstance(entry.verdict, Wait) and locked.row.due_at != entry.held.row.due_at:
        return replace(entry.verdict, after=timedelta(0))
    return entry.verdict
