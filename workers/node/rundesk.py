"""What one process of a run has written down: its name, its chunks, how far it is, its end. All fenced by its epoch.

A store or a database that is away is waited for: the process waits for its acknowledgement, and nothing is lost.
"""

import asyncio
import errno
import logging
import os
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from core.errors import DatabaseBusy, DiskFull, Json, StoreUnavailable, Unavailable
from core.failpoints import failpoint
from core.outages import Outage
from state.blobs import touch_blob
from state.database import Database, WriteSession
from state.inputs import InputFile, inputs_of
from state.ledger import Chunk, File, Mark, commit_chunk, mark
from state.runplacing import end_process, name_process, note_progress
from storage.base import ArtifactStore, BlobMissing
from storage.digests import Digest
from workers.node.lease import Term
from workers.node.processes import Identity
from workers.node.runmetrics import RunMetrics
from workers.node.runprogress import ProgressTeller
from workers.node.runreports import BrokenReport, ChunkDone, Started

log = logging.getLogger(__name__)
T = TypeVar("T")

PIECE_BYTES = 1024 * 1024
AGAIN_S = 0.25
LONGEST_AGAIN_S = 5.0
FULL_FOR_S = 600.0  # a disk that stays full for so long is no passing trouble


@dataclass(frozen=True, slots=True)
class Offices:
    """Where it is written: the same for all processes of a term."""

    database: Database
    store: ArtifactStore
    term: Term
    metrics: RunMetrics


class Desk:
    """The writings of one process."""

    def __init__(self, offices: Offices, run_id: str, epoch: int, teller: ProgressTeller) -> None:
        self.kept = 0  # chunks that are new in the ledger
        self._offices, self._run_id, self._epoch, self._teller = offices, run_id, epoch, teller
        self._outage = Outage(log, f"what run {run_id} has done cannot be kept now; it waits")

    async def mark(self) -> Mark:
        """Where the process begins. Raises `DatabaseBusy`."""
        async with self._offices.database.read() as session:
            return await mark(session, self._run_id)

    async def inputs(self) -> Sequence[InputFile]:
        """What is held for the run beside parts of datasets. Raises `DatabaseBusy`."""
        async with self._offices.database.read() as session:
            return await inputs_of(session, self._run_id)

    async def name(self, identity: Identity) -> None:
        """Say which process it is. Raises `ProcessGone`, `TermOver`."""

        async def write(session: WriteSession) -> None:
            told = (identity.pid, identity.started, identity.boot_id)
            await name_process(session, self._run_id, self._epoch, *told)

        await self._insist(lambda: self._written(write))

    async def begun(self, report: Started) -> None:
        """Keep what is known of the whole. Raises as `name` does."""
        self._teller.begun(report)
        await self._insist(self._tell)

    async def scored(self, rows: int) -> None:
        """Tell how far it is, once a second at most; trouble is no reason to stop. Raises as `name` does."""
        if self._teller.scored(rows):
            with suppress(DatabaseBusy):
                await self._tell()

    async def keep(self, report: ChunkDone, folder: Path) -> None:
        """Bring a chunk into the store and the ledger.

        Raises `ProcessGone`, `TermOver`, `NotReproducible`, `LedgerBroken`, and `DiskFull` when that lasts.
        """
        await self._insist(lambda: self._keep(report, folder))
        failpoint("chunk_before_ack")

    async def end(self, ending: Mapping[str, Json] | None) -> None:
        """Say that the process is gone. Raises `ProcessGone`, `TermOver`, `DatabaseBusy`."""
        failpoint("run_before_end")
        await self._written(lambda session: end_process(session, self._run_id, self._epoch, ending))

    @property
    def database(self) -> Database:
        """Where rows are."""
        return self._offices.database

    @property
    def store(self) -> ArtifactStore:
        """Where bytes are."""
        return self._offices.store

    async def write(self, work: Callable[[WriteSession], Awaitable[T]]) -> T:
        """One fenced transaction, again while the database is away. Raises what it raises, `TermOver`."""
        return await self._insist(lambda: self._written(work))

    async def _keep(self, report: ChunkDone, folder: Path) -> None:
        failpoint("chunk_before_store")
        output = await self._stored(folder / report.file)
        bad_rows = None if report.bad_file is None else await self._stored(folder / report.bad_file)
        chunk = Chunk(
            ordinal=report.chunk,
            first_row=report.first_row,
            rows_in=report.rows_in,
            rows_out=report.rows_out,
            bad=report.bad,
            output=output,
            bad_rows=bad_rows,
            next=report.next,
        )
        await self._touch(chunk)
        failpoint("chunk_before_commit")
        await self._teller.measure()
        progress = self._teller.after(report)

        async def commit(session: WriteSession) -> bool:
            is_new = await commit_chunk(session, self._run_id, self._epoch, chunk)
            await note_progress(session, self._run_id, self._epoch, progress)
            return is_new

        if await self._written(commit):
            self.kept += 1
            self._teller.kept(report)
            self._offices.metrics.committed(sum(file.size_bytes for file in chunk.files), report.rows_in)

    async def _stored(self, path: Path) -> File:
        stored = await self._offices.store.put(_pieces(path))
        return File(str(stored.digest), stored.size_bytes)

    async def _touch(self, chunk: Chunk) -> None:
        """Blob first, row second: and look again, for the sweeper may have deleted the same bytes just before."""

        async def touch(session: WriteSession) -> None:
            for file in chunk.files:
                await touch_blob(session, file.digest, file.size_bytes)

        await self._written(touch)
        for file in chunk.files:
            try:
                await self._offices.store.stat(Digest.parse(file.digest))
            except BlobMissing as error:
                raise StoreUnavailable("the same bytes were just being deleted; they are stored again") from error

    async def _tell(self) -> None:
        await self._teller.measure()
        progress = self._teller.document()
        await self._written(lambda session: note_progress(session, self._run_id, self._epoch, progress))

    async def _written(self, work: Callable[[WriteSession], Awaitable[T]]) -> T:
        """One transaction, to its end: who is cancelled in the middle of it would leave a broken connection."""
        writing = asyncio.ensure_future(self._write(work))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.gather(writing, return_exceptions=True)
            raise

    async def _write(self, work: Callable[[WriteSession], Awaitable[T]]) -> T:
        async with self._offices.database.write() as session:
            await self._offices.term.fence(session)
            return await work(session)

    async def _insist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it again while what it needs is away."""
        pause_s, began = AGAIN_S, time.monotonic()
        while True:
            try:
                done = await work()
            except Unavailable as error:
                if isinstance(error, DiskFull) and time.monotonic() > began + FULL_FOR_S:
                    raise
                self._outage.met(error.message)
                await asyncio.sleep(pause_s)
                pause_s = min(LONGEST_AGAIN_S, 2 * pause_s)
            else:
                self._outage.over()
                return done


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    """A file in pieces, read beside the event loop. Raises `BrokenReport` where the name is not a plain file's."""
    file = await asyncio.to_thread(_opened, path)
    try:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece
    finally:
        file.close()


def _opened(path: Path) -> BinaryIO:
    """A link would be read with our rights, and a named pipe for ever."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise BrokenReport(f"the run's process reports '{path.name}', which is a link") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BrokenReport(f"the run's process reports '{path.name}', which is no file")
    return os.fdopen(descriptor, "rb")
