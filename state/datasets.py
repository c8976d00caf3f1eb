"""Wishes for datasets: each a change of rows and its operation, in the caller's one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, func, insert, literal, select, update

from core.clock import now_micros
from core.errors import Conflict, FieldProblem, InUse, NameTaken, NotFound
from core.ids import new_id
from state.advance import advance, lock
from state.blobs import hold_blob, hold_blobs
from state.cataloguing import Description
from state.database import Session, WriteSession
from state.datatables import Dataset, DatasetFile, DatasetPart
from state.history import By, begin
from state.operations import Who, record, submit, supersede, unfinished
from state.queries.datasets import (
    Piece,
    creation_of,
    find_dataset,
    pieces_of,
    seek_dataset,
    users_of_dataset,
)
from state.queries.needs import scripts_waiting_for
from state.tables import Operation

# What a description finds, and a copy has, too.
FOUND = (
    *("format", "layout", "rows", "rows_are_estimated", "column_count", "columns", "warnings", "preview_digest"),
    "files",
)


class DatasetNotReady(Conflict):
    """Only a ready dataset can be read; this one is still being made, or has failed."""

    code, title = "dataset_not_ready", "The dataset is not ready"


class ByReference(Conflict):
    """The dataset's bytes are at its source and nowhere else."""

    code, title = "by_reference", "The dataset is only a reference"


@dataclass(slots=True)
class NewDataset:
    """What is in the store (`pieces`; several only of an upload in parts), or where it comes from, and what its owner
    says about it. `hints` is what he says of the format."""

    name: str
    kind: str = "table"
    pieces: Sequence[Piece] = ()
    upload_id: str | None = None
    source_uri: str | None = None
    is_reference: bool = False
    credential_sealed: str | None = None
    filename: str | None = None
    hints: Mapping[str, Any] = field(default_factory=dict)
    about: Description = field(default_factory=Description)


async def create_dataset(session: WriteSession, who: Who, new: NewDataset) -> tuple[Dataset, Operation]:
    """The dataset, and what makes it: fetches, puts together, describes. Raises `NameTaken`, `StoreUnavailable`."""
    row = await _begin(session, who, new)
    return row, await submit(session, who, "dataset.create", row)


async def create_empty(session: WriteSession, who: Who, new: NewDataset) -> tuple[Dataset, Operation]:
    """A dataset of files without one yet: ready at once. Raises `NameTaken`."""
    row = await _begin(session, who, new)
    row.files, row.size_bytes = 0, 0
    return row, await _ready(session, who, row)


async def copy_dataset(session: WriteSession, who: Who, new: NewDataset, source: Dataset) -> tuple[Dataset, Operation]:
    """Another dataset with the same bytes, none of which move; described anew where there are hints.

    Raises `NameTaken`, `StoreUnavailable`.
    """
    row = await _begin(session, who, new)
    row.size_bytes, row.digest, row.filename = source.size_bytes, source.digest, new.filename or source.filename
    await _copy_files(session, source, row)
    if new.hints:
        return row, await submit(session, who, "dataset.create", row)
    for name in FOUND:
        setattr(row, name, getattr(source, name))
    if row.preview_digest is not None:
        await hold_blob(session, row.preview_digest)
    return row, await _ready(session, who, row)


async def _begin(session: WriteSession, who: Who, new: NewDataset) -> Dataset:
    await check_free(session, who.tenant_id, new.name)
    now = now_micros()
    whole = new.pieces[0] if len(new.pieces) == 1 and new.upload_id is None else None
    row = Dataset(
        id=new_id("dts"),
        tenant_id=who.tenant_id,
        created_at=now,
        updated_at=now,
        name=new.name,
        kind=new.kind,
        source_uri=new.source_uri,
        is_reference=new.is_reference,
        credential_sealed=new.credential_sealed,
        upload_id=new.upload_id,
        filename=new.filename,
        digest=None if whole is None else whole.digest,
        size_bytes=sum(piece.size_bytes for piece in new.pieces) if new.pieces else None,
        hints=dict(new.hints),
        rows_are_estimated=False,
        display_name=new.about.display_name,
        description=new.about.description,
        tags=list(new.about.tags),
    )
    await begin(session, row, By(who.actor))
    await _add_parts(session, row, new.pieces)
    return row


async def _ready(session: WriteSession, who: Who, row: Dataset) -> Operation:
    operation = await record(session, who, "dataset.create", row)
    await advance(session, row, "ready", By(who.actor, operation_id=operation.id))
    return operation


async def _copy_files(session: WriteSession, source: Dataset, row: Dataset) -> None:
    """In one statement, for there may be many. Their blobs are in use by the source, which nobody deletes meanwhile."""
    names = ("path", "digest", "size_bytes", "content_type")
    columns = [getattr(DatasetFile, name) for name in names]
    same = select(literal(row.id), *columns, literal(now_micros())).where(DatasetFile.dataset_id == source.id)
    await session.execute(insert(DatasetFile).from_select(["dataset_id", *names, "created_at"], same))


async def check_free(session: WriteSession, tenant_id: str, name: str) -> None:
    """Raises `NameTaken` with a link to what has the name."""
    taken = await seek_dataset(session, tenant_id, name)
    if taken is not None:
        raise name_taken(taken)


def name_taken(holder: Dataset) -> NameTaken:
    """The conflict that links the dataset which has the name."""
    detail = f"a dataset named '{holder.name}' exists"
    hint = "delete it, or take another name"
    where = f"/api/v1/datasets/{holder.name}"
    return NameTaken(f"{detail}; {hint}", fields=[FieldProblem("/name", detail, hint)], holder=where)


async def hold_dataset(session: WriteSession, who: Who, name: str) -> Dataset:
    """The tenant's dataset, locked: who makes a run that reads it holds it, so that nobody deletes it meanwhile.

    Raises `NotFound`.
    """
    row = await lock(session, Dataset, (await find_dataset(session, who.tenant_id, name)).id)
    if row.status in ("deleting", "deleted"):
        raise NotFound(f"dataset '{name[:60]}' is deleted")
    return row


async def check_ready(session: Session, row: Dataset) -> None:
    """Raises `DatasetNotReady`, which says why and what to wait for."""
    if row.status == "ready":
        return
    what = f"dataset '{row.name}' is {row.status}"
    if row.status == "failed":
        raise DatasetNotReady(f"{what}: {row.message}; make it again", current_status=row.status)
    operation = await creation_of(session, row.id)
    link = None if operation is None else f"/api/v1/operations/{operation}"
    wait = f"GET {link}:wait tells when it is ready" if link else "make it again"
    raise DatasetNotReady(f"{what}; {wait}", current_status=row.status, operation=link)


@dataclass(frozen=True, slots=True)
class Pinned:
    """What a run reads: exactly these bytes, in this way; those of a reference are at its source under `etag`."""

    dataset_id: str
    generation: int
    kind: str
    pieces: Sequence[Piece]
    layout: Mapping[str, Any] | None
    source_uri: str | None
    etag: str | None


async def pinned(session: WriteSession, row: Dataset) -> Pinned:
    """What a run that begins now reads of a ready dataset that it holds.

    The parts stay until no live run has the dataset as its own (`Run.dataset_id`), also where they are replaced.
    """
    source, etag = (row.source_uri, row.source_etag) if row.is_reference else (None, None)
    return Pinned(row.id, row.generation, row.kind, await pieces_of(session, row.id), row.reading, source, etag)


async def delete_dataset(session: WriteSession, who: Who, row: Dataset) -> Operation:
    """Delete a locked dataset; what still makes it ends. Raises `InUse` naming the runs that read it.

    Its rows of parts and files go now, their bytes when the sweeper finds that nothing else refers to them.
    """
    users = await users_of_dataset(session, row.id) or await scripts_waiting_for(session, row)
    if users:
        shown = ", ".join(users[:5])
        raise InUse(
            f"dataset '{row.name}' is read by {'a run' if len(users) == 1 else 'runs'}: {shown}; wait or stop it first",
            runs=list(users),
        )
    operation = await record(session, who, "dataset.delete", row)
    by = By(who.actor, operation_id=operation.id)
    await supersede(session, await unfinished(session, row.id), operation, by)
    await session.execute(delete(DatasetPart).where(DatasetPart.dataset_id == row.id))
    await session.execute(delete(DatasetFile).where(DatasetFile.dataset_id == row.id))
    if row.status != "deleting":
        await advance(session, row, "delete", by)
    gone = {"digest": None, "preview_digest": None, "credential_sealed": None}
    await advance(session, row, "deleted", by, deleted_at=now_micros(), **gone)
    return operation


async def _add_parts(session: WriteSession, row: Dataset, pieces: Sequence[Piece]) -> None:
    await hold_blobs(session, [piece.digest for piece in pieces])
    names = ("dataset_id", "ordinal", "digest", "size_bytes", "rows")
    parts = [
        dict(zip(names, (row.id, ordinal, piece.digest, piece.size_bytes, piece.rows), strict=True))
        for ordinal, piece in enumerate(pieces)
    ]
    await session.flush()
    if parts:  # a long run leaves thousands: as objects they would take a second
        await session.execute(insert(DatasetPart), parts)


async def replace_parts(session: WriteSession, row: Dataset, pieces: Sequence[Piece]) -> None:
    """Other parts for a locked dataset. Those that a live run may still read stay for as long, below zero."""
    mine = DatasetPart.dataset_id == row.id
    if await users_of_dataset(session, row.id):
        least = min(0, await session.scalar(select(func.min(DatasetPart.ordinal)).where(mine)) or 0)
        former = update(DatasetPart).where(mine, DatasetPart.ordinal >= 0)
        below = former.values(ordinal=least - 1 - DatasetPart.ordinal)
        await session.execute(below.execution_options(synchronize_session=False))
    else:
        await session.execute(delete(DatasetPart).where(mine))
    await _add_parts(session, row, pieces)
