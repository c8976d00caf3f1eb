"""What a run becomes when it first starts: names turn into digests, and stay so for all of its processes.

A newer version, a moved alias or a replaced dataset changes nothing for a run that has begun.
"""

from collections.abc import Mapping
from typing import Any

from core.errors import InvalidField, NotFound, Rejected, Unavailable
from state.advance import lock
from state.cataloguing import hold_ready_version
from state.database import WriteSession
from state.datasets import check_ready, pinned
from state.datatables import Dataset
from state.features import with_features
from state.jobtables import Run
from state.naming import DEFAULT, output_name
from state.parts import check_part
from state.queries.models import find_model


class InputUnderWay(Unavailable):
    """The dataset that the run reads is still being made."""

    code, title = "input_under_way", "The input is not there yet"


class InputNotRead(Rejected):
    """What the run is to read is of a kind that runs do not read."""

    code, title = "input_not_read", "A run cannot read this"


async def resolve(session: WriteSession, run: Run) -> None:
    """Pin what a locked run reads, scores with and writes; nothing where that is done already.

    Raises `InputUnderWay`, `NotFound`, `VersionNotReady`, `DatasetNotReady`, `InputNotRead`, `InvalidField`.
    """
    if run.resolved is not None:
        return
    spec = run.spec
    model = await find_model(session, run.tenant_id, spec["model"])
    version = await hold_ready_version(session, model, spec.get("version") or "latest")
    if (part := spec.get("part")) is not None:
        check_part(version.signature, part, f"version {version.number} of model '{model.name}'")
    source = await _input(session, run)
    output = dict(spec.get("output") or {})
    run.version_id = version.id
    run.resolved = {
        "model": model.name,
        "model_id": model.id,
        "version": str(version.number),
        "version_id": version.id,
        "part": part,
        "digest": version.digest,
        "signature": with_features(version.signature or {}, version.features),
        "input": source,
        "output": {
            "name": output_name(output.get("name") or DEFAULT, run.job_name, run.number, run.created_at),
            "format": output.get("format") or source["layout"]["format"],
            "compression": output.get("compression"),
            "replace": bool(output.get("replace")),
        },
        "mapping": spec.get("mapping"),
        "pass_through": spec.get("pass_through") or [],
        "on_error": spec.get("on_error") or {"policy": "fail"},
        "chunk_rows": spec.get("chunk_rows"),
        "parallelism": spec.get("parallelism") or 1,
    }


async def _input(session: WriteSession, run: Run) -> Mapping[str, Any]:
    named = (run.spec.get("input") or {}).get("dataset")
    if run.dataset_id is None:
        raise NotFound(f"no dataset is named '{named}'; GET /api/v1/datasets lists them")
    row = await lock(session, Dataset, run.dataset_id)
    if row.status == "creating":
        raise InputUnderWay(f"dataset '{row.name}' is still being made")
    await check_ready(session, row)
    found = await pinned(session, row)
    if found.kind != "table" or found.layout is None:
        raise InputNotRead(f"dataset '{row.name}' is of kind '{found.kind}'; a batch reads tables")
    if found.source_uri is not None:
        raise InputNotRead(f"dataset '{row.name}' is only a reference to its source; make one with the data itself")
    if not found.pieces:
        raise InvalidField(f"dataset '{row.name}' has no data")
    parts = [{"digest": each.digest, "size_bytes": each.size_bytes, "rows": each.rows} for each in found.pieces]
    return {
        "dataset": row.name,
        "dataset_id": row.id,
        "generation": found.generation,
        "rows": row.rows,
        "parts": parts,
        "layout": dict(found.layout),
    }
