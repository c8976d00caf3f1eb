"""What a run becomes when it first starts: names turn into digests, and stay so for all of its processes.

A newer version, a moved alias or a replaced dataset changes nothing for a run that has begun.
"""

from collections.abc import Mapping
from typing import Any, Final

from core.errors import InvalidField, NotFound, Unavailable
from state.advance import lock
from state.cataloguing import hold_ready_version
from state.database import WriteSession
from state.datasets import check_ready, pinned
from state.datatables import Dataset
from state.features import with_features
from state.inputs import COPY, inputs_of, keep_files
from state.jobtables import Run
from state.naming import DEFAULT, output_name
from state.parts import check_part
from state.queries.datasets import Piece
from state.queries.models import find_model

OF_FILES: Final = "csv"  # what comes of files that have no format of tables


class InputUnderWay(Unavailable):
    """The dataset that the run reads is still being made."""

    code, title = "input_under_way", "The input is not there yet"


class InputElsewhere(Exception):
    """The dataset is a reference, and its bytes are to be fetched first.

    `held_as` is the path by which they are held, `name` what a script that reads several calls this one.
    """

    def __init__(
        self, uri: str, credential_sealed: str | None, etag: str | None, held_as: str = COPY, name: str = ""
    ) -> None:
        super().__init__(uri)
        self.uri, self.credential_sealed, self.etag = uri, credential_sealed, etag
        self.held_as, self.name = held_as, name


async def resolve(session: WriteSession, run: Run) -> None:
    """Pin what a locked run reads, scores with and writes; nothing where that is done already.

    Raises `InputUnderWay`, `InputElsewhere`, `NotFound`, `VersionNotReady`, `DatasetNotReady`, `InvalidField`.
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
            "name": output_name(output.get("name") or DEFAULT, run.job_name, run.number, run.is_for),
            "format": output.get("format") or source["layout"].get("format", OF_FILES),
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
    pieces = found.pieces
    if found.source_uri is not None:
        pieces = [Piece(each.digest, each.size_bytes, row.rows) for each in await inputs_of(session, run.id)]
        if not pieces:
            raise InputElsewhere(found.source_uri, row.credential_sealed, found.etag)
    if found.kind == "files":
        await keep_files(session, run.id, row.id)
    elif not pieces or found.layout is None:
        raise InvalidField(f"dataset '{row.name}' has no data")
    parts = [{"digest": each.digest, "size_bytes": each.size_bytes, "rows": each.rows} for each in pieces]
    return {
        "dataset": row.name,
        "dataset_id": row.id,
        "generation": found.generation,
        "kind": found.kind,
        "rows": row.files if found.kind == "files" else None if row.rows_are_estimated else row.rows,
        "parts": parts,
        "layout": dict(found.layout or {}),
    }
