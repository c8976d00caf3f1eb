"""What a run leaves: the chunks of its ledger become the parts of its datasets, in one fenced transaction."""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from core.errors import Json, Rejected
from state.datatables import Dataset
from state.endings import lock_held
from state.history import By
from state.jobtables import Run
from state.kinds import LOOK_S
from state.ledger import StoredPart, bad_parts, output_parts
from state.naming import LONGEST_NAME
from state.operations import Who
from state.publishing import Output, publish_dataset, withdraw_bad_rows
from state.queries.datasets import Piece
from state.runplacing import unwant_run
from state.settling import stretch, summary
from state.tables import Operation
from storage.base import ByteRange
from storage.digests import Digest
from workers.describing import Broken, Description, describe
from workers.previews import keep_preview
from workers.resources import Held, Resources

log = logging.getLogger(__name__)

BAD: Final = "-bad"  # behind the output's name
PREVIEW_ROWS: Final = 500
PREVIEW_BYTES: Final = 1024 * 1024  # of the file of bad rows
KEPT_OF_COLUMN: Final = ("name", "type", "arrow_type", "nullable")
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


async def publish(held: Held, resources: Resources, run: Run, progress: Mapping[str, Json]) -> Published:
    """Make the datasets, once whoever asks again, and want no process of the run any more. Raises `ClaimLost`."""
    # Whoever published it may have died since, and another run may have replaced it, or somebody deleted it.
    outputs = [] if run.output_id is not None else await _outputs(resources, run, progress)
    running_micros = stretch(run, progress)["running_micros"] or 0
    by = By(held.claim.owner, operation_id=held.claim.id)
    async with resources.database.write() as writing:
        work = await lock_held(writing, held.claim, held.row)
        assert isinstance(work.row, Operation)
        assert isinstance(work.target, Run)
        await unwant_run(writing, run.id, work.row.generation)
        made = [await publish_dataset(writing, run.tenant_id, output, by) for output in outputs]
        if len(outputs) == 1 and outputs[0].replace:
            who = Who(run.tenant_id, f"run:{run.job_name}/{run.number}", "member")
            await withdraw_bad_rows(writing, who, _bad_name(run))
        # Its owner may stop it before it has succeeded: what is there is named all the same.
        for row in made:
            if row.role == "output":
                work.target.output_id = row.id
            else:
                work.target.bad_rows_id = row.id
        output_id = str(work.target.output_id)
        named = await writing.get(Dataset, output_id)
        done = await summary(writing, run.id, progress, running_micros)
        return Published("" if named is None else named.name, output_id, work.target.bad_rows_id, done)


async def _outputs(resources: Resources, run: Run, progress: Mapping[str, Json]) -> list[Output]:
    """What the ledger holds, as it is to be published."""
    async with resources.database.read() as session:
        parts, bad = await output_parts(session, run.id), await bad_parts(session, run.id)
    output = await _output(resources, run, parts, progress)
    return [output, await _bad_rows(resources, run, bad)] if bad else [output]


async def _output(resources: Resources, run: Run, parts: Sequence[StoredPart], progress: Mapping[str, Any]) -> Output:
    wanted = (run.resolved or {})["output"]
    told: list[Any] = list(progress.get("columns") or ())
    layout, preview, columns = _layout(wanted["format"], wanted["compression"], told), None, told
    look = await _look(resources, run, parts[0]) if parts else None
    if look is not None:
        preview = await keep_preview(resources, look.preview["columns"], look.preview["rows"])
        # What is told of the values holds for one part only, and types are those that the scorer writes: in a part of
        # text there may be whole numbers only, where the next one has others.
        seen = look.columns if len(parts) == 1 else [_without_values(column) for column in look.columns]
        columns = _typed(seen, told)
        layout = {**look.layout, "columns": _typed([_without_values(column) for column in look.columns], told)}
    return Output(
        run_id=run.id,
        number=run.number,
        role="output",
        name=wanted["name"],
        format=wanted["format"],
        pieces=_pieces(parts),
        layout=layout,
        columns=columns,
        rows=sum(part.rows for part in parts),
        preview_digest=preview,
        replace=wanted["replace"],
    )


async def _bad_rows(resources: Resources, run: Run, parts: Sequence[StoredPart]) -> Output:
    wanted = (run.resolved or {})["output"]
    return Output(
        run_id=run.id,
        number=run.number,
        role="bad_rows",
        name=_bad_name(run),
        format="jsonl",
        pieces=_pieces(parts),
        layout=_layout("jsonl", None, BAD_COLUMNS),
        columns=list(BAD_COLUMNS),
        rows=sum(part.rows for part in parts),
        preview_digest=await _first_bad_rows(resources, parts[0]),
        replace=wanted["replace"],
    )


def _bad_name(run: Run) -> str:
    name: str = (run.resolved or {})["output"]["name"]
    return name[: LONGEST_NAME - len(BAD)].rstrip("-") + BAD


def _pieces(parts: Sequence[StoredPart]) -> list[Piece]:
    return [Piece(part.digest, part.size_bytes, part.rows) for part in parts]


async def _look(resources: Resources, run: Run, part: StoredPart) -> Description | None:
    """What the first part looks like; without an answer there is no preview, and that is all."""
    wanted = (run.resolved or {})["output"]
    hints = {name: wanted[name] for name in ("format", "compression") if wanted[name] is not None}
    if wanted["format"] == "parquet":  # it is within the file, not around it
        hints.pop("compression", None)
    file = await resources.cache.path(Digest.parse(part.digest))
    try:
        async with asyncio.timeout(LOOK_S):
            found = await describe(resources, file, name=None, hints=hints, watch=_nobody_waits)
    except (Rejected, OSError) as error:  # the latter: time is up, or no process can be had
        log.warning("the output of %s cannot be described: %s", run.id, error)
        return None
    if isinstance(found, Broken):
        log.warning("the output of %s cannot be described: %s", run.id, found.reason)
        return None
    return found


async def _nobody_waits(report: Mapping[str, Any]) -> None:
    """One chunk is described at once: there is nothing to tell meanwhile."""


def _typed(seen: Sequence[Any], told: Sequence[Any]) -> list[dict[str, Any]]:
    types = {column["name"]: column["type"] for column in told}
    kept = [{**column, "type": types.get(column["name"], column["type"])} for column in seen]
    # Arrow's words are of the type that was seen.
    return [
        {name: value for name, value in column.items() if name != "arrow_type" or column["type"] == was["type"]}
        for column, was in zip(kept, seen, strict=True)
    ]


def _without_values(column: Any) -> dict[str, Any]:
    return {name: column[name] for name in KEPT_OF_COLUMN if name in column}


def _layout(format: str, compression: str | None, columns: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How the parts are read: `serving.data.formats.Format`, whose defaults are how the scorer writes."""
    told = [_without_values(column) for column in columns]
    return {"format": format, "compression": None if format == "parquet" else compression, "columns": told}


async def _first_bad_rows(resources: Resources, part: StoredPart) -> str:
    """Read here: JSON lines of our own."""
    start = bytearray()
    async with aclosing(resources.store.open(Digest.parse(part.digest), ByteRange(0, PREVIEW_BYTES))) as pieces:
        async for piece in pieces:
            start += piece
    lines = bytes(start).split(b"\n")[:-1][:PREVIEW_ROWS]
    names = [str(column["name"]) for column in BAD_COLUMNS]
    return await keep_preview(resources, names, [[told.get(name) for name in names] for told in map(json.loads, lines)])
