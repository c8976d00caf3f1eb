"""Datasets: bring their bytes into the store, where they are not yet, and describe what is in them."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import Any, Final

from core.errors import DatabaseBusy, Rejected
from core.failpoints import failpoint
from state.creating import NewFile, record_files, record_looked, record_preview, record_stored
from state.queries.datasets import DatasetFacts, Piece, dataset_facts, pieces_of
from state.tables import Operation
from storage.base import Stored
from storage.digests import Digest
from workers.describing import POINTER, Broken, Description, describe
from workers.looking import look
from workers.origins import bring, origin_of
from workers.outcomes import Done, Failed, Outcome, Retry, Wait
from workers.previews import keep, keep_preview
from workers.progress import progress
from workers.resources import Held, Resources
from workers.unpacking import unpack

OWN_FAULT_ATTEMPTS: Final = 3
TELL_EVERY_S: Final = 1.0


async def create(held: Held, resources: Resources) -> Outcome:
    """Safe to begin anew at any point: what is in the store already is not fetched again."""
    assert isinstance(held.row, Operation)
    async with resources.database.read() as session:
        facts = await dataset_facts(session, held.row.target_id)
    try:
        if facts.is_reference and facts.source_uri is not None:
            return await _look(held, resources, facts, facts.source_uri)
        if facts.digest is None:
            if facts.source_uri is not None:
                await _fetch(held, resources, facts, facts.source_uri)
            else:
                await _put_together(held, resources, facts)
            return Wait(timedelta(0), "it is stored; its description is next")
        if facts.kind == "files":
            return await _unpack(held, resources, facts.digest)
        return await _describe(held, resources, facts, facts.digest)
    except Rejected as error:
        return Failed(error.as_problem())


async def _fetch(held: Held, resources: Resources, facts: DatasetFacts, uri: str) -> None:
    """Copy the source into the store. Raises what is wrong with it, and `SourceUnavailable`."""
    origin = origin_of(uri, facts.credential_sealed, resources)
    stored, _ = await bring(origin, resources, Teller(held, resources, "fetching").tell)
    await _keep(held, resources, stored)


async def _look(held: Held, resources: Resources, facts: DatasetFacts, uri: str) -> Outcome:
    """Describe a reference by what is at its source now, and pin it to that."""
    assert isinstance(held.row, Operation)
    origin = origin_of(uri, facts.credential_sealed, resources)
    looked = await look(origin, resources, facts, Teller(held, resources, "looking").tell)
    if isinstance(looked, Broken):
        return _given_up(held, looked)
    async with resources.database.write() as session:
        await record_looked(session, held.claim, held.row, looked.etag, looked.size_bytes)
    return await finish(held, resources, looked.description, {})


async def _put_together(held: Held, resources: Resources, facts: DatasetFacts) -> None:
    """Make one blob of the parts of an upload."""
    async with resources.database.read() as session:
        pieces = await pieces_of(session, facts.id)
    total = sum(piece.size_bytes for piece in pieces)
    teller = Teller(held, resources, "putting together")

    async def all_bytes() -> AsyncIterator[bytes]:
        so_far = 0
        for piece in pieces:
            async with aclosing(resources.store.open(Digest.parse(piece.digest))) as opened:
                async for each in opened:
                    so_far += len(each)
                    yield each
                    await teller.tell(so_far, total)

    stored = await resources.store.put(all_bytes(), max_bytes=resources.settings.max_dataset_bytes)
    await _keep(held, resources, stored)


async def _keep(held: Held, resources: Resources, stored: Stored) -> None:
    """The dataset refers to these bytes from now on. What comes then has a time limit of its own."""
    assert isinstance(held.row, Operation)
    failpoint("blob_before_touch")
    await keep(resources, stored)
    failpoint("blob_before_version")
    whole = Piece(str(stored.digest), stored.size_bytes)
    async with resources.database.write() as session:
        await record_stored(session, held.claim, held.row, whole)


async def _describe(held: Held, resources: Resources, facts: DatasetFacts, digest: str) -> Outcome:
    assert isinstance(held.row, Operation)
    file = await resources.cache.path(Digest.parse(digest))
    size_bytes = file.stat().st_size
    teller = Teller(held, resources, "describing")

    async def watch(report: Mapping[str, Any]) -> None:
        await teller.tell(int(report["bytes"]), size_bytes, report.get("rows"))

    failpoint("before_effect")
    pointer = POINTER if facts.source_uri is None else "/source_uri"
    found = await describe(resources, file, name=facts.filename, hints=facts.hints, watch=watch, pointer=pointer)
    failpoint("after_effect")
    if isinstance(found, Broken):
        return _given_up(held, found)
    return await finish(held, resources, found, {"credential_sealed": None})


async def _unpack(held: Held, resources: Resources, digest: str) -> Outcome:
    row = held.row
    assert isinstance(row, Operation)
    archive = await resources.cache.path(Digest.parse(digest))

    async def keep_files(files: Sequence[NewFile], first: bool) -> None:
        async with resources.database.write() as session:
            await record_files(session, held.claim, row, files, first=first)

    found = await unpack(resources, archive, keep_files, Teller(held, resources, "unpacking").tell)
    if isinstance(found, Broken):
        return _given_up(held, found)
    gone = {"digest": None, "credential_sealed": None}
    return Done(target={"files": found.files, "size_bytes": found.size_bytes, **gone})


async def finish(held: Held, resources: Resources, found: Description, also: Mapping[str, object]) -> Outcome:
    """Keep the first rows, and say what was found."""
    assert isinstance(held.row, Operation)
    preview = await keep_preview(resources, found.preview["columns"], found.preview["rows"])
    async with resources.database.write() as session:
        await record_preview(session, held.claim, held.row, preview)
    return Done(target={**found.as_columns(), **also})


def _given_up(held: Held, found: Broken) -> Outcome:
    if held.claim.attempt < OWN_FAULT_ATTEMPTS:
        return Retry(found.reason, after=timedelta(seconds=0.2))
    return Failed(found.problem)


class Teller:
    """Tells how far the work is in bytes, once a second at most."""

    def __init__(self, held: Held, resources: Resources, stage: str) -> None:
        self._held, self._resources, self._stage = held, resources, stage
        self._next_at = 0.0

    async def tell(self, done_bytes: int, total_bytes: int | None, rows: int | None = None) -> None:
        """Raises `ClaimLost`; a database that is away is no reason to stop."""
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + TELL_EVERY_S
        percent = min(100, 100 * done_bytes // total_bytes) if total_bytes else 0
        detail = amount(done_bytes, total_bytes)
        with suppress(DatabaseBusy):
            said = detail if rows is None else f"{detail}, {rows:,} rows"
            await progress(self._held, self._resources, percent, self._stage, said)


def amount(done_bytes: int, total_bytes: int | None) -> str:
    """`12 of 40 MB`, or `12 MB` where nobody says how many there are."""
    unit, size = ("MB", 1_000_000) if (total_bytes or done_bytes) >= 1_000_000 else ("kB", 1000)
    so_far = f"{done_bytes / size:.0f}"
    return f"{so_far} {unit}" if total_bytes is None else f"{so_far} of {total_bytes / size:.0f} {unit}"
