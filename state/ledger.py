"""The ledger of a batch run: one row a chunk whose output is stored. What is not here is done again, and only that.

Only the run's present process may add to it (`state.runplacing.hold_process`), one chunk after the other; the same
chunk again must be the same bytes, for a run that is not reproducible cannot be resumed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select

from core.clock import now_micros
from core.errors import PlatformError
from state.blobs import hold_blob
from state.database import Session, WriteSession
from state.jobtables import RunChunk
from state.runplacing import hold_process


class NotReproducible(PlatformError):
    """The same chunk came again with other bytes."""

    code, title = "not_reproducible", "The run does not give the same output twice"


class LedgerBroken(PlatformError):
    """A chunk came that does not follow the last one, or the sum is another than was reported: a bug."""

    code, title = "ledger_broken", "The ledger of the run does not add up"


@dataclass(frozen=True, slots=True)
class File:
    """Stored bytes of a chunk."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """One finished chunk: `next` is where the input goes on behind it."""

    ordinal: int
    first_row: int
    rows_in: int
    rows_out: int
    bad: int
    output: File
    bad_rows: File | None
    next: Mapping[str, Any]

    @property
    def files(self) -> Sequence[File]:
        """All that is stored of it, in the order in which their rows are locked."""
        found = {file.digest: file for file in (self.output, self.bad_rows) if file is not None}
        return [found[digest] for digest in sorted(found)]


@dataclass(frozen=True, slots=True)
class Tally:
    """What the ledger sums up to."""

    chunks: int = 0
    rows_in: int = 0
    rows_out: int = 0
    bad: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a process goes on: the sums, and the position behind the last chunk (None: at the beginning)."""

    tally: Tally
    position: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A stored piece of an output, in its order."""

    digest: str
    size_bytes: int
    rows: int


async def commit_chunk(session: WriteSession, run_id: str, epoch: int, chunk: Chunk) -> bool:
    """Add a chunk whose bytes are stored; False where it was there already.

    Raises `ProcessGone`, `NotReproducible`, `LedgerBroken`, `StoreUnavailable`.
    """
    await hold_process(session, run_id, epoch)
    known = await session.get(RunChunk, (run_id, chunk.ordinal))
    if known is not None:
        _must_be_same(known, chunk)
        return False
    await _must_follow(session, run_id, chunk)
    for file in chunk.files:
        await hold_blob(session, file.digest)
    session.add(_row(run_id, chunk))
    await session.flush()
    return True


async def tally(session: Session, run_id: str) -> Tally:
    """What is done for good."""
    sums = (
        *(func.count(), func.sum(RunChunk.rows_in), func.sum(RunChunk.rows_out), func.sum(RunChunk.bad)),
        func.sum(RunChunk.size_bytes + func.coalesce(RunChunk.bad_size_bytes, 0)),
    )
    found = (await session.execute(select(*sums).where(RunChunk.run_id == run_id))).one()
    return Tally(*(int(each or 0) for each in found))


async def mark(session: Session, run_id: str) -> Mark:
    """Where the next process of the run begins."""
    last = select(RunChunk.next).where(RunChunk.run_id == run_id).order_by(RunChunk.ordinal.desc()).limit(1)
    return Mark(await tally(session, run_id), await session.scalar(last))


async def output_parts(session: Session, run_id: str) -> list[StoredPart]:
    """The parts of the output that hold rows, in order; the first one always, because it tells the columns."""
    columns = (RunChunk.ordinal, RunChunk.digest, RunChunk.size_bytes, RunChunk.rows_out)
    rows = await session.execute(select(*columns).where(RunChunk.run_id == run_id).order_by(RunChunk.ordinal))
    return [StoredPart(digest, size, count) for ordinal, digest, size, count in rows if count or ordinal == 0]


async def bad_parts(session: Session, run_id: str) -> list[StoredPart]:
    """The parts that tell of bad rows, in order."""
    columns = (RunChunk.bad_digest, RunChunk.bad_size_bytes, RunChunk.bad)
    query = select(*columns).where(RunChunk.run_id == run_id, RunChunk.bad_digest.is_not(None))
    rows = await session.execute(query.order_by(RunChunk.ordinal))
    return [StoredPart(str(digest), int(size or 0), count) for digest, size, count in rows]


async def close_ledger(session: WriteSession, run_id: str) -> None:
    """Forget the chunks of a run that has ended: its datasets hold what is to stay."""
    await session.execute(
        delete(RunChunk).where(RunChunk.run_id == run_id).execution_options(synchronize_session=False)
    )


async def _must_follow(session: Session, run_id: str, chunk: Chunk) -> None:
    """The chunk is the next one, begins with the row behind the last one's, and says of each of its rows what became
    of it: then every row is in the ledger once, whatever a process reports."""
    columns = (RunChunk.ordinal, RunChunk.first_row, RunChunk.rows_in)
    query = select(*columns).where(RunChunk.run_id == run_id).order_by(RunChunk.ordinal.desc()).limit(1)
    last = (await session.execute(query)).one_or_none()
    wanted = (0, 0) if last is None else (last.ordinal + 1, last.first_row + last.rows_in)
    if (chunk.ordinal, chunk.first_row) != wanted:
        told = f"chunk {chunk.ordinal} of {run_id} begins with row {chunk.first_row}"
        raise LedgerBroken(f"{told}, and chunk {wanted[0]} with row {wanted[1]} is to come")
    if chunk.rows_out + chunk.bad != chunk.rows_in:
        raise LedgerBroken(
            f"chunk {chunk.ordinal} of {run_id} has {chunk.rows_in} rows, of which {chunk.rows_out} are in its output "
            f"and {chunk.bad} are bad"
        )


def _must_be_same(known: RunChunk, chunk: Chunk) -> None:
    bad_digest = None if chunk.bad_rows is None else chunk.bad_rows.digest
    before = (known.digest, known.bad_digest, known.rows_in, known.rows_out, known.bad, dict(known.next))
    if before != (chunk.output.digest, bad_digest, chunk.rows_in, chunk.rows_out, chunk.bad, dict(chunk.next)):
        raise NotReproducible(
            f"chunk {chunk.ordinal} of {known.run_id} was {known.digest} and is {chunk.output.digest} now; "
            "a model that answers otherwise each time cannot be run in chunks that are done again"
        )


def _row(run_id: str, chunk: Chunk) -> RunChunk:
    bad = chunk.bad_rows
    return RunChunk(
        run_id=run_id,
        ordinal=chunk.ordinal,
        first_row=chunk.first_row,
        rows_in=chunk.rows_in,
        rows_out=chunk.rows_out,
        bad=chunk.bad,
        digest=chunk.output.digest,
        size_bytes=chunk.output.size_bytes,
        bad_digest=bad.digest if bad else None,
        bad_size_bytes=bad.size_bytes if bad else None,
        next=dict(chunk.next),
        committed_at=now_micros(),
    )
