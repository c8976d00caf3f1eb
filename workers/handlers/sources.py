"""Versions that come from a URL: the first half of their inspection, which brings the bytes into the store."""

import time
from contextlib import suppress
from datetime import timedelta

from core.errors import DatabaseBusy, Rejected, StoreUnavailable
from core.failpoints import failpoint
from core.settings import Settings
from state.blobs import touch_blob
from state.fetching import record_fetched
from state.tables import Operation
from storage.base import BlobMissing, Stored
from workers.addresses import Guard
from workers.fetching import Limits, fetch
from workers.outcomes import Failed, Outcome, Wait
from workers.progress import progress
from workers.resources import Held, Resources

TELL_EVERY_S = 1.0


async def fetch_source(held: Held, resources: Resources, source_uri: str) -> Outcome:
    """Fetch the file and record it; then the operation waits for its inspection in the lane of its kind.

    A fetch that somebody killed begins anew: what it left is no blob, or one that nothing refers to.
    """
    assert isinstance(held.row, Operation)
    settings = resources.settings
    limits = Limits(settings.max_upload_bytes, settings.source_timeout_s)
    try:
        stored = await fetch(source_uri, resources.store, limits, guard(settings), _Teller(held, resources).tell)
    except Rejected as error:
        return Failed(error.as_problem())
    failpoint("blob_before_touch")
    await _keep(resources, stored)
    failpoint("blob_before_version")
    async with resources.database.write() as session:
        await record_fetched(session, held.claim, held.row, str(stored.digest), stored.size_bytes)
    return Wait(timedelta(0), "it is fetched; its inspection is next")


def guard(settings: Settings) -> Guard:
    """What sources may reach."""
    return Guard.of(settings.opens_private_sources, settings.host, "PORTSIDE_ALLOW_PRIVATE_SOURCES")


async def _keep(resources: Resources, stored: Stored) -> None:
    """Say in the database that these bytes are in use (ARCHITECTURE, sentence 8). Raises `StoreUnavailable`."""
    async with resources.database.write() as session:
        await touch_blob(session, str(stored.digest), stored.size_bytes)
    try:
        await resources.store.stat(stored.digest)
    except BlobMissing as error:
        raise StoreUnavailable("the same bytes were just being deleted here; they are fetched again") from error


class _Teller:
    """Tells how far the fetch is, once a second at most."""

    def __init__(self, held: Held, resources: Resources) -> None:
        self._held, self._resources = held, resources
        self._next_at = 0.0

    async def tell(self, received_bytes: int, total_bytes: int | None) -> None:
        """Raises `ClaimLost`; a database that is away is no reason to stop."""
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + TELL_EVERY_S
        percent = 100 * received_bytes // total_bytes if total_bytes else 0
        with suppress(DatabaseBusy):
            await progress(self._held, self._resources, percent, "fetching", _amount(received_bytes, total_bytes))


def _amount(received_bytes: int, total_bytes: int | None) -> str:
    """`12 of 40 MB`, or `12 MB` where nobody says how many there are."""
    unit, size = ("MB", 1_000_000) if (total_bytes or received_bytes) >= 1_000_000 else ("kB", 1000)
    so_far = f"{received_bytes / size:.0f}"
    return f"{so_far} {unit}" if total_bytes is None else f"{so_far} of {total_bytes / size:.0f} {unit}"
