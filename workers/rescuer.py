"""Queues work again whose holder let its lease run out; after some rescues it is what kills its holders, and fails."""

import asyncio
import logging
import time

from core.clock import to_micros
from core.errors import DatabaseBusy, PlatformError
from core.failpoints import failpoint
from state.claims import attempts_of, expired, forget_starts, give_back, lease_ends, let_leases_run_out
from state.database import Database
from state.direct import DirectSession, direct_write
from state.endings import Locked, fail, lock_silent
from state.history import By
from state.leases import forget_all
from state.sweeping import forget_condemned
from state.worktables import LANES, Work
from workers.metrics import WorkMetrics, unseen
from workers.recording import backoff
from workers.tracing import work_context

log = logging.getLogger(__name__)

MAX_RESCUES = 5
BATCH = 50
MOST_LEFT = 1_000  # of one look at a lane
CLOCK_STEP_S = 0.02  # just after the end of a lease, not just before


class HolderDied(PlatformError):
    """Whoever worked on it died each time."""

    code, title = "holder_died", "Its workers died repeatedly"


async def rescue_expired(database: Database, metrics: WorkMetrics | None = None, ahead_s: float = 0.0) -> None:
    """Look at every lane for leases that ran out, and for `ahead_s` whenever one is about to.

    Who lives renews in good time: a lease that is that near its end is a dead one's, most probably.
    """
    until = time.monotonic() + ahead_s
    while True:
        async with database.read() as session:
            has_ended, ends_in_s = await lease_ends(session)
        if has_ended:
            await _rescue_all(database, metrics or unseen(), "lease_expired", "{} stopped answering")
        if time.monotonic() + ends_in_s + CLOCK_STEP_S >= until:
            return
        await asyncio.sleep(ends_in_s + CLOCK_STEP_S)


async def requeue_all_running(database: Database) -> int:
    """Queue every held row again: for the start of a process that is known to be alone on this database.

    Answers how many there were; also frees the caretakers' leases.
    """
    async with database.write() as session:
        await forget_all(session)
        await forget_condemned(session)
        await let_leases_run_out(session)
    count = await _rescue_all(database, unseen(), "restarted", "the platform restarted")
    async with database.write() as session:
        await forget_starts(session)
    return count


async def _rescue_all(database: Database, metrics: WorkMetrics, reason: str, message: str) -> int:
    """Each row in a transaction of its own: none holds up the others, and nobody waits for a lock of many."""
    count = 0
    for lane in LANES:
        left: set[str] = set()  # what cannot be rescued now is looked at once, and stands before nobody
        is_more = True
        while is_more:
            async with database.read() as session:
                rows = await expired(session, lane, BATCH, without=left)
            rescued = [await _rescue(database, row, reason, message.format(row.lease_owner)) for row in rows]
            done = [row for row in rescued if row is not None]
            left |= {row.id for row in rows} - {row.id for row in done}
            metrics.rescues.labels(lane).inc(len(done))
            metrics.given_up.labels(lane).inc(sum(row.status in LANES[lane].finals for row in done))
            count += len(done)
            is_more = len(rows) == BATCH and len(left) < MOST_LEFT
    return count


async def _rescue(database: Database, row: Work, reason: str, message: str) -> Work | None:
    """The row after its rescue; nothing when its holder has answered meanwhile, or it cannot be rescued now."""
    try:
        with work_context(row):
            async with direct_write(database) as session:
                locked = await lock_silent(session, row)
                if locked is not None:
                    await _take_away(session, locked, By("rescuer", reason, message))
                    failpoint("rescue_before_commit")
    except DatabaseBusy:
        raise
    except Exception:
        log.exception("%s cannot be rescued; the next look tries again", row.id)
        return None
    return None if locked is None else locked.row


async def _take_away(session: DirectSession, work: Locked, by: By) -> None:
    row = work.row
    # What has no limit of attempts has no failed state to rest in either: a service would be `deleting` for ever. What
    # has more of them than others has more to lose: a run is over when its operation is, whatever its ledger has.
    attempts = attempts_of(row, MAX_RESCUES)
    if row.cancel_requested or attempts is None or row.rescues < max(MAX_RESCUES, attempts):
        log.info("%s is queued again: %s", row.id, by.message)
        # What kills its holders for ever shall leave them time for other work.
        after = to_micros(backoff(row.rescues - MAX_RESCUES + 1)) if row.rescues >= MAX_RESCUES else 0
        # The attempt did not fail, it was taken away: it is not counted, the rescue is.
        await give_back(session, row, by, after_micros=after, used_attempt=False, rescues=row.rescues + 1)
        return
    log.warning("%s is given up after %d rescues", row.id, row.rescues)
    problem = HolderDied(f"{row.id} was given up: whoever worked on it died, {row.rescues + 1} times").as_problem()
    await fail(session, work, By(by.actor), problem)
