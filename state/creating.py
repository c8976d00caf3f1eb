"""What the creation of a dataset writes on its way: fenced commits between fetching its bytes and describing them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import delete, insert

from core.clock import now_micros
from state.blobs import hold_blob, hold_blobs
from state.claims import Claim
from state.database import WriteSession
from state.datasets import replace_parts
from state.datatables import Dataset, DatasetFile, DatasetPart
from state.endings import lock_held
from state.queries.datasets import Piece
from state.tables import Operation


@dataclass(frozen=True, slots=True)
class NewFile:
    """One file for a dataset of files, whose bytes are in the store."""

    path: str
    digest: str
    size_bytes: int
    content_type: str


async def record_stored(session: WriteSession, claim: Claim, row: Operation, piece: Piece) -> None:
    """The dataset's bytes are in the store in one piece: fetched, or put together.

    Raises `ClaimLost`, and `StoreUnavailable` where the sweeper was faster.
    """
    dataset = await _held(session, claim, row)
    await replace_parts(session, dataset, [piece])
    dataset.digest, dataset.size_bytes, dataset.upload_id = piece.digest, piece.size_bytes, None
    _touch(session, dataset)


async def record_preview(session: WriteSession, claim: Claim, row: Operation, digest: str) -> None:
    """The dataset's first rows are in the store. Raises as `record_stored` does."""
    dataset = await _held(session, claim, row)
    await hold_blob(session, digest)
    dataset.preview_digest = digest
    _touch(session, dataset)


async def record_looked(session: WriteSession, claim: Claim, row: Operation, etag: str, size_bytes: int | None) -> None:
    """What a reference is pinned to from now on. Raises `ClaimLost`."""
    dataset = await _held(session, claim, row)
    dataset.source_etag, dataset.size_bytes = etag, size_bytes
    _touch(session, dataset)


async def record_files(
    session: WriteSession, claim: Claim, row: Operation, files: Sequence[NewFile], *, first: bool
) -> None:
    """Files that were unpacked; with the `first` of them go those of an attempt before.

    Raises `ClaimLost`, and `StoreUnavailable` where the sweeper was faster.
    """
    dataset = await _held(session, claim, row)
    if first:
        await session.execute(delete(DatasetFile).where(DatasetFile.dataset_id == dataset.id))
        # The archive is needed no more once all are there; until then the dataset's own digest refers to it.
        await session.execute(delete(DatasetPart).where(DatasetPart.dataset_id == dataset.id))
    await hold_blobs(session, [file.digest for file in files])
    same = {"dataset_id": dataset.id, "created_at": now_micros()}
    if files:  # there may be 100,000 in all: as objects they would take as long again
        await session.execute(insert(DatasetFile), [{**asdict(file), **same} for file in files])


async def _held(session: WriteSession, claim: Claim, row: Operation) -> Dataset:
    target = (await lock_held(session, claim, row)).target
    assert isinstance(target, Dataset)
    return target


def _touch(session: WriteSession, dataset: Dataset) -> None:
    dataset.edition += 1
    dataset.updated_at = now_micros()
    session.tell("changed", "dataset", dataset.id)
