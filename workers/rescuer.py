"""Queues work again whose holder let its lease run out; after some rescues it is what kills its holders, and fails."""

import logging

from core.errors import PlatformError
from state.claims import LANES, Work, attempts_of, expired, forget_starts, give_back, working
from state.database import Database, WriteSession
from state.endings import Locked, fail, lock_operation
from state.history import By
from state.leases import forget_all
from state.tables import Operation

log = logging.getLogger(__name__)

MAX_RESCUES = 5
BATCH = 50


class HolderDied(PlatformError):
    """Whoever worked on it died each time."""

    code, title = "holder_died", "Its workers died repeatedly"


async def rescue_expired(database: Database) -> None:
    """Look once at every lane for leases that ran out."""
    for lane in LANES:
        while True:
            async with database.write() as session:
                rows = await expired(session, lane, BATCH)
                for row in rows:
                    await _rescue(session, row, By("rescuer", "lease_expired", f"{row.lease_owner} stopped answering"))
            if len(rows) < BATCH:
                break


async def requeue_all_running(database: Database) -> int:
    """Queue every held row again: for the start of a process that is known to be alone on this database.

    Answers how many there were; also frees the caretakers' leases.
    """
    count = 0
    async with database.write() as session:
        await forget_all(session)
    for lane in LANES:
        while True:
            async with database.write() as session:
                rows = await working(session, lane, BATCH)
                for row in rows:
                    await _rescue(session, row, By("rescuer", "restarted", "the platform restarted"))
            count += len(rows)
            if len(rows) < BATCH:
                break
    async with database.write() as session:
        await forget_starts(session)
    return count


async def _rescue(session: WriteSession, row: Work, by: By) -> None:
    # What has no limit of attempts has no failed state to rest in either: a service would be `deleting` for ever.
    is_endless = attempts_of(row, MAX_RESCUES) is None
    if row.cancel_requested or is_endless or row.rescues < MAX_RESCUES:
        log.info("%s is queued again: %s", row.id, by.message)
        # The attempt did not fail, it was taken away: it is not counted, the rescue is.
        await give_back(session, row, by, after_micros=0, used_attempt=False, rescues=row.rescues + 1)
        return
    log.warning("%s is given up after %d rescues", row.id, row.rescues)
    locked = await lock_operation(session, row) if isinstance(row, Operation) else Locked(row, None)
    problem = HolderDied(f"{row.id} was given up: whoever worked on it died, {row.rescues + 1} times").as_problem()
    await fail(session, locked, By(by.actor), problem)
