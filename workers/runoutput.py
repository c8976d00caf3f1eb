"""What a run leaves: the chunks of its ledger become the parts of its datasets, in one fenced transaction."""

import json
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from core.errors import Json
from state.endings import lock_held
from state.history import By
from state.jobtables import Run
from state.ledger import StoredPart, bad_parts, output_parts
from state.naming import LONGEST_NAME
from state.publishing import Output, publish_dataset
from state.queries.datasets import Piece
from state.runplacing import unwant_run
from state.settling import stretch, summary
from state.tables import Operation
from storage.base import ByteRange
from storage.digests import Digest
from workers.previews import keep_preview
from workers.resources import Held, Resources

BAD: Final = "-bad"  # behind the output's name
PREVIEW_ROWS: Final = 500
PREVIEW_BYTES: Final = 1024 * 1024  # of the file of bad rows
BAD_COLUMNS: Final = (
    {"name": "row", "type": "int64", "nullable": False},
    {"name": "line", "type": "int64", "nullable": True},
    {"name": "column", "type": "string", "nullable": True},
    {"name": "reason", "type": "string", "nullable": False},
    {"name": "text", "type": "string", "nullable": False},
)


@dataclass(frozen=True, slots=True)
class Published:
    """The datasets of a run, and what it has done in all."""

    output: str
    output_id: str
    bad_rows_id: str | None
    summary: dict[str, Any]


async def publish(held: Held, resources: Resources, run: Run, progress: Mapping[str, Any]) -> Published:
    """Make the datasets, once whoever asks again, and want no process of the run any more. Raises `ClaimLost`."""
    assert run.resolved is not None
    async with resources.database.read() as session:
        parts, bad = await output_parts(session, run.id), await bad_parts(session, run.id)
    output = _output(run, parts, progress)
    bad_rows = await _bad_rows(resources, run, bad) if bad else None
    running_micros = int(stretch(run).get("running_micros", run.running_micros))
    by = By(held.claim.owner, operation_id=held.claim.id)
    async with resources.database.write() as writing:
        work = await lock_held(writing, held.claim, held.row)
        assert isinstance(work.row, Operation)
        await unwant_run(writing, run.id, work.row.generation)
        made = await publish_dataset(writing, run.tenant_id, output, by)
        made_bad = None if bad_rows is None else await publish_dataset(writing, run.tenant_id, bad_rows, by)
        done = await summary(writing, run.id, progress, running_micros)
    return Published(made.name, made.id, None if made_bad is None else made_bad.id, done)


def _output(run: Run, parts: Sequence[StoredPart], progress: Mapping[str, Any]) -> Output:
    wanted = (run.resolved or {})["output"]
    columns = list(progress.get("columns") or ())
    return Output(
        run_id=run.id,
        number=run.number,
        role="output",
        name=wanted["name"],
        format=wanted["format"],
        pieces=[Piece(part.digest, part.size_bytes, part.rows) for part in parts],
        layout=_layout(wanted["format"], wanted["compression"], columns),
        columns=columns,
        rows=sum(part.rows for part in parts),
        replace=wanted["replace"],
    )


async def _bad_rows(resources: Resources, run: Run, parts: Sequence[StoredPart]) -> Output:
    wanted = (run.resolved or {})["output"]
    columns = list(BAD_COLUMNS)
    return Output(
        run_id=run.id,
        number=run.number,
        role="bad_rows",
        name=wanted["name"][: LONGEST_NAME - len(BAD)].rstrip("-") + BAD,
        format="jsonl",
        pieces=[Piece(part.digest, part.size_bytes, part.rows) for part in parts],
        layout=_layout("jsonl", None, columns),
        columns=columns,
        rows=sum(part.rows for part in parts),
        preview_digest=await _preview(resources, parts[0]),
        replace=wanted["replace"],
    )


def _layout(format: str, compression: str | None, columns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How the parts are read: `serving.data.formats.Format`, whose defaults are how the scorer writes."""
    named = ("name", "type", "arrow_type", "nullable")
    told = [{name: column[name] for name in named if name in column} for column in columns]
    return {"format": format, "compression": None if format == "parquet" else compression, "columns": told}


async def _preview(resources: Resources, part: StoredPart) -> str:
    """The first bad rows, read here: JSON lines of our own."""
    start = bytearray()
    async with aclosing(resources.store.open(Digest.parse(part.digest), ByteRange(0, PREVIEW_BYTES))) as pieces:
        async for piece in pieces:
            start += piece
    lines = bytes(start).split(b"\n")[:-1][:PREVIEW_ROWS]
    names: list[Json] = [str(column["name"]) for column in BAD_COLUMNS]
    rows = [[told.get(name) for name in names] for told in map(json.loads, lines)]
    return await keep_preview(resources, names, rows)
