"""What `portside doctor` asks of an installation: is everything reachable, do clocks, versions and stores agree?"""

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from itertools import islice
from pathlib import Path

from cli.backends import Backends, open_backends
from cli.failure import CommandFailed
from cli.finding import Finding
from core.errors import PlatformError
from core.settings import Settings
from state.migrations.newest import newest_schema
from state.queries.checkup import clock, overdue, processes, stored_versions, vacant, without_row
from state.schema import check, read_schema
from storage.base import ArtifactStore, BlobMissing
from storage.digests import Digest
from workers.broker.open import broker_fault

SKEW_S = 1.0
OVERDUE_S = 60.0
LOOKED_AT = 1000  # versions and blobs: a check-up of seconds, not an audit
ABSENT = Digest("0" * 64)
KEY_FIX = "give the key of the other processes: without it nothing that was sealed can be opened"


def installation(settings: Settings) -> list[Finding]:
    """Every finding about what this platform's settings name; none of it changes anything."""
    is_new = settings.database.startswith("sqlite:///") and not Path(settings.database[len("sqlite:///") :]).exists()
    if is_new and settings.artifacts_url is None:
        return [Finding("database", "none yet: portside up makes it")]
    has_key = settings.secret_key is not None or (settings.data / "secret.key").exists()
    lacking = Finding("key", "PORTSIDE_SECRET_KEY is not set", is_fine=False, note=KEY_FIX)
    found = asyncio.run(_installation(settings if has_key else _with_a_key_of_no_use(settings), is_new))
    return found if has_key or is_new else [lacking, *found]


def _with_a_key_of_no_use(settings: Settings) -> Settings:
    """To open a platform would else make the file with its key, and a doctor changes nothing."""
    return settings.model_copy(update={"secret_key": b64encode(bytes(32)).decode()})


async def _installation(settings: Settings, is_new: bool) -> list[Finding]:
    async with AsyncExitStack() as stack:
        try:
            backends = open_backends(settings, stack)
        except CommandFailed as failed:
            return [Finding("settings", failed.message, is_fine=False)]
        store = await _answer("artifacts", "check PORTSIDE_ARTIFACTS_URL", lambda: _store(backends.store))
        broker = await asyncio.to_thread(_broker, settings)
        if is_new:
            return [Finding("database", "none yet: portside up makes it"), store, broker]
        database = await _answer("database", "check PORTSIDE_DATABASE_URL", lambda: _database(backends))
        found = [database, store, broker]
        if database.is_fine:
            found += [finding async for finding in _rows(backends)]
        if database.is_fine and store.is_fine:
            found += [await _lost(backends), await _orphans(backends)]
        return found


async def _answer(topic: str, fix: str, look: Callable[[], Awaitable[str]]) -> Finding:
    try:
        return Finding(topic, await look())
    except PlatformError as error:
        return Finding(topic, error.message, is_fine=False, note=fix)


async def _database(backends: Backends) -> str:
    schema = await read_schema(backends.database)
    check(schema, newest_schema())
    return f"{backends.database.dialect}, schema {schema.revision}"


async def _store(store: ArtifactStore) -> str:
    with suppress(BlobMissing):  # it has looked
        await store.stat(ABSENT)
    return "answers"


def _broker(settings: Settings) -> Finding:
    fault = broker_fault(settings.broker_url)
    if fault is None:
        return Finding("broker", settings.broker_url.partition("://")[0])
    return Finding("broker", fault, is_fine=False, note="work goes on with a look every 2 s; check PORTSIDE_BROKER_URL")


async def _rows(backends: Backends) -> AsyncIterator[Finding]:
    """What the database tells of itself and of the processes on it."""
    before = time.time()
    async with backends.database.read() as session:
        theirs = await clock(session) / 1_000_000
        now = int(theirs * 1_000_000)
        rows, empty, late = await processes(session), await vacant(session), await overdue(session, now - _OVERDUE)
    skew = max(before - theirs, theirs - time.time(), 0.0)
    note = "" if skew < SKEW_S else "set the clocks by NTP: deadlines and signatures go by them"
    yield Finding("clock", f"{skew:.1f} s between this machine and the database", skew < SKEW_S, note)
    alive = [row for row in rows if row.is_alive]
    versions = sorted({row.version for row in alive})
    roles = ", ".join(sorted({f"{sum(row.role == role for row in alive)} {role}" for role in {r.role for r in alive}}))
    note = "" if len(versions) < 2 else "different releases: fine during an upgrade, not after it"
    yield Finding("processes", f"{roles or 'none runs'} {' '.join(versions)}".strip(), note=note)
    if alive:
        dead = [row.id for row in rows if not row.is_alive]
        if dead:
            yield Finding("ended", f"{len(dead)} processes said no goodbye", note="their work was taken over")
        if empty:
            yield Finding("caretakers", f"nobody is {', '.join(empty)}", False, "start a worker: portside worker")
        note = "a worker may be missing or busy: see /api/v1/system" if late else ""
        yield Finding("work", f"{late} operations wait for more than {OVERDUE_S:g} s", late == 0, note)


_OVERDUE = int(OVERDUE_S * 1_000_000)


async def _lost(backends: Backends) -> Finding:
    async with backends.database.read() as session:
        digests = await stored_versions(session, LOOKED_AT)
    lost = [digest for digest in digests if not await _is_stored(backends.store, digest)]
    if not lost:
        return Finding("versions", f"{len(digests)} looked at, all stored")
    note = f"bring them back from a backup, or delete their versions: {', '.join(lost[:3])}"
    return Finding("versions", f"{len(lost)} of {len(digests)} have no artifact in the store", False, note)


async def _is_stored(store: ArtifactStore, digest: str) -> bool:
    try:
        return await store.stat(Digest.parse(digest)) >= 0
    except BlobMissing:
        return False


async def _orphans(backends: Backends) -> Finding:
    found: list[str] = []
    async for digest in backends.store.list():
        found.append(str(digest))
        if len(found) == LOOKED_AT:
            break
    orphans: set[str] = set()
    rest = iter(found)
    while batch := list(islice(rest, 500)):
        async with backends.database.read() as session:
            orphans |= await without_row(session, batch)
    note = "the sweeper takes them in within 6 hours and deletes them" if orphans else ""
    return Finding("orphans", f"{len(orphans)} of {len(found)} stored blobs have no row", note=note)
