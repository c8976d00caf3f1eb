"""Datasets that a run leaves: made ready in the transaction that ends it, once, whoever tries again."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from core.clock import now_micros
from core.errors import InUse
from core.ids import new_id
from state.advance import advance, lock
from state.blobs import hold_blob
from state.database import WriteSession
from state.datasets import delete_dataset, replace_parts
from state.datatables import Dataset
from state.events import emit
from state.history import By, begin
from state.naming import LONGEST_NAME
from state.operations import Who
from state.queries.datasets import Piece, seek_dataset


@dataclass(frozen=True, slots=True)
class Output:
    """What a run wrote: its parts in order, how they are read, its columns (`serving data describe` says how these
    look), and its first rows, where they are kept (`workers.previews`)."""

    run_id: str
    number: int
    role: str  # output | bad_rows
    name: str
    format: str
    pieces: Sequence[Piece]
    layout: Mapping[str, Any]
    columns: Sequence[Any]
    rows: int
    preview_digest: str | None = None
    replace: bool = False


async def publish_dataset(session: WriteSession, tenant_id: str, output: Output, by: By) -> Dataset:
    """The ready dataset of what a run wrote; the one that is there already where this run has written it before.

    Where the name is another's it gets the run's number behind it, or, with `replace`, the other's parts are replaced.
    Raises `StoreUnavailable` where the sweeper was faster than the run.
    """
    mine = (Dataset.run_id == output.run_id, Dataset.role == output.role, Dataset.status != "deleted")
    written = (await session.execute(select(Dataset).where(*mine))).scalars().first()
    if written is not None:
        return written
    taken = await seek_dataset(session, tenant_id, output.name)
    if taken is not None and _may_replace(output, taken):
        row = await lock(session, Dataset, taken.id)
        if row.status == "ready":
            return await _replace(session, row, output, by)
        taken = await seek_dataset(session, tenant_id, output.name)  # it was just deleted
    name = output.name if taken is None else await free_name(session, tenant_id, output.name, output.number)
    return await _make(session, tenant_id, output, name, by)


async def withdraw_bad_rows(session: WriteSession, who: Who, name: str) -> None:
    """Delete what a former run has left out, now that its output is replaced by that of a run which left out nothing.

    What else has the name stays, and so does what a run reads.
    """
    former = await seek_dataset(session, who.tenant_id, name)
    if former is None or former.role != "bad_rows":
        return
    row = await lock(session, Dataset, former.id)
    if row.status == "ready" and row.role == "bad_rows":
        with suppress(InUse):
            await delete_dataset(session, who, row)


def _may_replace(output: Output, taken: Dataset) -> bool:
    """Bad rows have a name that nobody chose: what else is called so is not theirs."""
    is_known = output.role == "output" or taken.role == output.role
    return output.replace and is_known and taken.status == "ready" and taken.kind == "table"


async def _make(session: WriteSession, tenant_id: str, output: Output, name: str, by: By) -> Dataset:
    now = now_micros()
    row = Dataset(
        id=new_id("dts"),
        tenant_id=tenant_id,
        created_at=now,
        updated_at=now,
        tags=[],
        name=name,
        kind="table",
        hints={},
        rows_are_estimated=False,
        **await _written(session, output),
    )
    await begin(session, row, by)
    await replace_parts(session, row, output.pieces)
    await advance(session, row, "ready", by)
    return row


async def _replace(session: WriteSession, row: Dataset, output: Output, by: By) -> Dataset:
    for name, value in (await _written(session, output)).items():
        setattr(row, name, value)
    row.source_uri = row.source_etag = row.credential_sealed = row.filename = None
    row.is_reference = row.rows_are_estimated = False
    row.generation += 1
    row.edition += 1
    row.updated_at = now_micros()
    await replace_parts(session, row, output.pieces)
    await emit(session, row, "dataset.ready")
    return row


async def _written(session: WriteSession, output: Output) -> dict[str, Any]:
    """The columns that tell of what was written."""
    if output.preview_digest is not None:
        await hold_blob(session, output.preview_digest)
    return {
        "run_id": output.run_id,
        "role": output.role,
        "digest": output.pieces[0].digest if len(output.pieces) == 1 else None,
        "size_bytes": sum(piece.size_bytes for piece in output.pieces),
        "format": output.format,
        "layout": {name: value for name, value in output.layout.items() if name != "columns"},
        "rows": output.rows,
        "column_count": len(output.columns),
        "columns": list(output.columns),
        "warnings": [],
        "preview_digest": output.preview_digest,
    }


async def free_name(session: WriteSession, tenant_id: str, taken: str, number: int) -> str:
    """The name with the run's number behind it, and with a count where that is taken, too."""
    count = 0
    while True:
        ending = f"-{number}" if count == 0 else f"-{number}-{count}"
        name = taken[: LONGEST_NAME - len(ending)].rstrip("-") + ending
        if await seek_dataset(session, tenant_id, name) is None:
            return name
        count += 1
