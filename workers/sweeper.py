"""Removes what nobody needs any more: unreferenced blobs, abandoned uploads, rows beyond their keeping time."""

import logging
import time
from datetime import timedelta
from itertools import islice
from typing import Final

from core.clock import now_micros, to_micros
from core.failpoints import failpoint
from state.blobs import DELETED_WITHIN
from state.pruning import forget_runs
from state.sweeping import (
    Aged,
    Condemned,
    adopt,
    bury,
    condemn,
    doom,
    forget_circuits,
    forget_former_parts,
    forget_idempotency_keys,
    forget_old,
    forget_uploads,
    pardon,
    unknown,
)
from storage.base import BlobMissing
from storage.digests import Digest
from workers.resources import Resources

log = logging.getLogger(__name__)

BATCH = 500
FEW = 50  # runs: each may have thousands of rows
DAY: Final = timedelta(days=1)


class Sweeper:
    """One look sweeps everything once. A blob that nothing refers to lives for `idle` and then `doomed_for`."""

    def __init__(
        self,
        resources: Resources,
        *,
        idle: timedelta = timedelta(hours=1),
        doomed_for: timedelta = timedelta(minutes=10),
        walk_every: timedelta = timedelta(hours=6),
        first_walk: timedelta = timedelta(minutes=10),
    ) -> None:
        """`first_walk` is soon: a process may not live until the second one, nor any other that sweeps after it."""
        self._resources = resources
        self._idle, self._doomed_for, self._walk_every = idle, doomed_for, walk_every
        self._walk_at = time.monotonic() + first_walk.total_seconds()

    async def look(self) -> None:
        """Rows first: a prediction or a file that goes may leave its bytes unreferenced."""
        await self._sweep_rows()
        await self._sweep_blobs()
        await self._resources.store.sweep_partial(DAY)
        if time.monotonic() >= self._walk_at:
            self._walk_at = time.monotonic() + self._walk_every.total_seconds()
            await self.adopt_orphans()

    async def _sweep_rows(self) -> None:
        settings = self._resources.settings
        kept: dict[Aged, timedelta] = {
            "prediction": timedelta(hours=settings.prediction_hours),
            "file": timedelta(hours=settings.file_hours),
            "operation": timedelta(days=settings.operation_days),
            "delivery": timedelta(days=settings.delivery_days),
            "replica": timedelta(days=settings.operation_days),
            "event": timedelta(days=settings.event_days),
            "audit": timedelta(days=settings.audit_days),
            "tick": timedelta(days=settings.run_days),
            # Longer than the longest window: whose clock says what is old is not the one that wrote it.
            "sample": timedelta(hours=settings.sample_hours, minutes=10),
        }
        for what, age in kept.items():
            removed = BATCH
            while removed == BATCH:
                async with self._resources.database.write() as session:
                    removed = await forget_old(session, what, _ago(age), BATCH)
                self._resources.metrics.care.removed_rows.labels(what).inc(removed)
        removed = BATCH
        while removed == BATCH:
            async with self._resources.database.write() as session:
                removed = await forget_circuits(session, _ago(timedelta(days=settings.delivery_days)), BATCH)
        await self._sweep_data()
        await self._sweep_runs()
        removed = BATCH
        while removed == BATCH:
            async with self._resources.database.write() as session:
                before = _ago(timedelta(hours=settings.idempotency_hours))
                removed = await forget_idempotency_keys(session, before, BATCH)

    async def _sweep_runs(self) -> None:
        removed = FEW
        while removed == FEW:
            async with self._resources.database.write() as session:
                age = timedelta(days=self._resources.settings.run_days)
                removed = await forget_runs(session, _ago(age), FEW)
            self._resources.metrics.care.removed_rows.labels("run").inc(removed)

    async def _sweep_data(self) -> None:
        """Uploads in parts that nobody goes on with, and what datasets had before their outputs were replaced."""
        database, age = self._resources.database, timedelta(hours=self._resources.settings.upload_hours)
        async with database.write() as session:
            await forget_former_parts(session)
        removed = BATCH
        while removed == BATCH:
            async with database.write() as session:
                removed = await forget_uploads(session, _ago(age), BATCH)
            self._resources.metrics.care.removed_rows.labels("upload").inc(removed)

    async def _sweep_blobs(self) -> None:
        database = self._resources.database
        async with database.write() as session:
            await pardon(session)
        doomed_before = _ago(self._doomed_for)
        while True:
            # One at a time: between the condemnation and the deletion a put must not trust the bytes it finds.
            async with database.write() as session:
                condemned = await condemn(session, doomed_before)
            if condemned is None:
                break
            await self.execute(condemned)
        async with database.write() as session:
            await doom(session, _ago(self._idle))

    async def execute(self, condemned: Condemned) -> bool:
        """Delete the bytes, then the row; False where we stood still so long that the blob may live again."""
        # A store cannot be fenced by an epoch, so the condemnation runs out: a process that was paused after it does
        # not delete what was put since then.
        if now_micros() - condemned.at > to_micros(DELETED_WITHIN):
            log.warning("the sweeper stood still and leaves blob %s to a later look", condemned.digest)
            return False
        await self._resources.store.delete(Digest.parse(condemned.digest))
        failpoint("sweep_before_bury")
        async with self._resources.database.write() as session:
            buried = await bury(session, condemned)
        care = self._resources.metrics.care
        care.freed_blobs.inc()
        care.freed_bytes.inc(condemned.size_bytes)
        log.info("unreferenced blob %s is deleted%s", condemned.digest, "" if buried else ", and was put again")
        return True

    async def adopt_orphans(self) -> None:
        """Walk the store for blobs without a row."""
        digests = [str(digest) async for digest in self._resources.store.list()]
        rest = iter(digests)
        while batch := list(islice(rest, BATCH)):
            async with self._resources.database.read() as session:
                orphans = await unknown(session, batch)
            sizes = {digest: size for digest in orphans if (size := await self._size(digest)) is not None}
            if sizes:
                async with self._resources.database.write() as session:
                    count = await adopt(session, sizes)
                log.info("%d blobs without a row are adopted", count)

    async def _size(self, digest: str) -> int | None:
        try:
            return await self._resources.store.stat(Digest.parse(digest))
        except BlobMissing:
            return None


def _ago(age: timedelta) -> int:
    return now_micros() - to_micros(age)
