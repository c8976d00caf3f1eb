"""What a script needs and what becomes of it: names are checked when the job is written, pinned when the run starts."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from core.errors import FieldProblem, InvalidField, Json, NotFound, named_by
from state.advance import lock
from state.artifacts import RunFile, add_inputs
from state.blobs import hold_blob
from state.cataloguing import hold_ready_version
from state.database import Session, WriteSession
from state.datasets import check_ready
from state.datatables import Dataset
from state.inputs import COPY, InputFile, inputs_of, let_go
from state.jobtables import Run
from state.queries.datasets import files_of, pieces_of, seek_dataset
from state.queries.files import find
from state.queries.models import find_model
from state.queries.needs import read_reference
from state.resolving import InputElsewhere, InputUnderWay
from state.tables import Model, Version

Spec = Mapping[str, Any]
MOST_FILES: Final = 20_000  # that one script reads
PAGE: Final = 500
ENDINGS: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst")


@dataclass(frozen=True, slots=True)
class ScriptNeeds:
    """What a script job refers to: its script, and the first dataset that it reads."""

    script_digest: str
    dataset_id: str | None
    model_id: str | None = None


async def needs_of_script(session: WriteSession, tenant_id: str, spec: Spec, *, has_data: bool = True) -> ScriptNeeds:
    """Look for everything that the spec names; without `has_data` datasets need not be there.

    Raises `NotFound`, `VersionNotReady`, `DatasetNotReady`, each with its pointer; `StoreUnavailable` where the sweeper
    was faster.
    """
    await hold_blob(session, spec["script"]["digest"])
    first: Dataset | None = None
    for name, dataset in spec["inputs"]["datasets"].items():
        with named_by(f"/inputs/datasets/{name}"):
            row = await seek_dataset(session, tenant_id, dataset)
            if row is None and has_data:
                raise NotFound(f"no dataset is named '{dataset}'; GET /api/v1/datasets lists them")
            if row is not None and row.status == "failed":
                await check_ready(session, row)
            first = first or row
    for name, reference in spec["inputs"]["models"].items():
        with named_by(f"/inputs/models/{name}"):
            await version_of(session, tenant_id, reference)
    return ScriptNeeds(spec["script"]["digest"], None if first is None else first.id)


async def uploaded_script(session: Session, tenant_id: str, file_id: str) -> dict[str, Json]:
    """The members of a stored script whose bytes are an uploaded file. Raises `NotFound`, `InvalidField`."""
    with named_by("/script/file"):
        file = await find(session, tenant_id, file_id)
    name = PurePosixPath(file.name).name
    is_archive = name.lower().endswith(ENDINGS)
    if not is_archive and not name.endswith(".py"):
        detail = f"'{name[:100]}' is neither a .py file nor an archive"
        hint = f"upload a file that ends in .py, or in {', '.join(ENDINGS)}"
        raise InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/script/file", detail, hint)])
    kind = "archive" if is_archive else "file"
    return {"kind": kind, "digest": file.digest, "size_bytes": file.size_bytes, "file": file.id, "name": name}


async def version_of(session: WriteSession, tenant_id: str, reference: str) -> tuple[Model, Version]:
    """What `iris`, `iris/3` or `iris@prod` means now, locked. Raises `NotFound`, `VersionNotReady`."""
    name, given = read_reference(reference)
    model = await find_model(session, tenant_id, name)
    return model, await hold_ready_version(session, model, given)


async def pin_script(session: WriteSession, run: Run) -> None:
    """Pin what a locked run of a script reads; nothing where that is done already.

    Raises `InputUnderWay`, `InputElsewhere`, `NotFound`, `VersionNotReady`, `DatasetNotReady`, `InvalidField`.
    """
    if run.resolved is not None:
        return
    spec, files = run.spec, []
    held = {each.path: each for each in await inputs_of(session, run.id)}  # copies of what references name
    datasets: dict[str, Any] = {}
    for name, dataset in spec["inputs"]["datasets"].items():
        row = await _dataset(session, run.tenant_id, dataset)
        found = [_copy(row, held, name)] if row.is_reference else await _bytes(session, row)
        datasets[name] = {"dataset": row.name, "dataset_id": row.id, "format": row.format, "rows": row.rows}
        files += [RunFile(f"inputs/{name}/{each.path}", each.digest, each.size_bytes) for each in found]
    models: dict[str, Any] = {}
    for name, reference in spec["inputs"]["models"].items():
        model, version = await version_of(session, run.tenant_id, reference)
        models[name] = {"model": model.name, "version": str(version.number), "version_id": version.id}
        run.version_id = run.version_id or version.id
        path = f"models/{name}/{_file_name(model.name, version)}"
        files.append(RunFile(path, version.digest, version.size_bytes))
    if len(files) > MOST_FILES:
        raise InvalidField(f"a script reads at most {MOST_FILES} files, and these would be {len(files)}")
    if held:
        await let_go(session, run.id)  # from here on by the paths that they have for the script
    await add_inputs(session, run.id, files)
    script = {name: spec["script"][name] for name in ("digest", "kind", "name", "entry", "requirements", "python")}
    run.resolved = {
        **script,
        "args": spec["args"],
        "inputs": {"datasets": datasets, "models": models},
        "scheduled_for": run.scheduled_for,
    }


async def _dataset(session: WriteSession, tenant_id: str, name: str) -> Dataset:
    found = await seek_dataset(session, tenant_id, name)
    if found is None:
        raise NotFound(f"no dataset is named '{name}'; GET /api/v1/datasets lists them")
    row = await lock(session, Dataset, found.id)
    if row.status == "creating":
        raise InputUnderWay(f"dataset '{row.name}' is still being made")
    await check_ready(session, row)
    return row


def _copy(row: Dataset, held: Mapping[str, InputFile], name: str) -> RunFile:
    """The copy of a locked reference that was fetched for this run: of this dataset, pinned to what it is pinned to.

    Raises `InputElsewhere` where there is none yet.
    """
    pinned = hashlib.sha256((row.source_etag or "").encode()).hexdigest()[:16]
    held_as = f"{COPY}/{row.id}/{pinned}"
    if held_as not in held:
        raise InputElsewhere(str(row.source_uri), row.credential_sealed, row.source_etag, held_as, name)
    return RunFile(_data_name(row), held[held_as].digest, held[held_as].size_bytes)


async def _bytes(session: WriteSession, row: Dataset) -> Sequence[RunFile]:
    if row.kind == "files":
        return await _files(session, row)
    pieces = await pieces_of(session, row.id)
    if len(pieces) == 1:
        return [RunFile(_data_name(row), pieces[0].digest, pieces[0].size_bytes)]
    ending = _ending(row)
    return [RunFile(f"part-{at:05}{ending}", each.digest, each.size_bytes) for at, each in enumerate(pieces)]


async def _files(session: WriteSession, row: Dataset) -> list[RunFile]:
    files: list[RunFile] = []
    while len(files) <= MOST_FILES:
        after = files[-1].path if files else ""
        page = await files_of(session, row.id, after=after, limit=PAGE)
        files += [RunFile(each.path, each.digest, each.size_bytes) for each in page]
        if len(page) < PAGE:
            break
    return files


def _data_name(row: Dataset) -> str:
    return f"{row.name}{_ending(row)}"


def _ending(row: Dataset) -> str:
    layout = row.layout or {}
    compression = {"gzip": ".gz", "zstd": ".zst"}.get(str(layout.get("compression") or ""), "")
    return f".{row.format or 'data'}{compression}"


def _file_name(model: str, version: Version) -> str:
    """What the file is called for the script; the name that it was uploaded under may be anything."""
    ending = {"onnx": ".onnx", "pmml": ".pmml", "parts": ".zip"}.get(version.format, ".bin")
    return f"{model}-{version.number}{ending}"
