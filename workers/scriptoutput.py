"""What a script's run leaves besides its artifacts: versions of models and datasets that its job wants of its files.

They are made once, in one fenced transaction that notes them at the file, and then waited for: a model that turns out
not to be one fails the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any, Final

from core.clock import now_micros
from core.errors import Json, NameTaken, NotFound, PlatformError, Rejected
from state.artifacts import seek_file
from state.cataloguing import Description, NewVersion, add_version, create_model, set_alias
from state.database import Session, WriteSession
from state.datasets import NewDataset, create_dataset
from state.datatables import Dataset
from state.endings import lock_held
from state.jobtables import Run, RunArtifact
from state.naming import output_name
from state.operations import Who
from state.publishing import free_name
from state.queries.datasets import Piece, seek_dataset
from state.queries.models import seek_model
from state.runplacing import unwant_run
from state.settling import stretch
from state.tables import Model, Operation, Version
from workers.outcomes import Done, Failed, Outcome, Progress, Wait
from workers.resources import Held, Resources

FORMATS: Final = {".onnx": "onnx", ".pmml": "pmml", ".xml": "pmml", ".zip": "parts"}
LOOK: Final = timedelta(seconds=1)
UNDER_WAY: Final = ("received", "inspecting", "creating")


class OutputMissing(Rejected):
    """The script ended well and has not left a file that its job makes something of."""

    code, title = "output_missing", "The script did not leave what its job wants"


class OutputRefused(Rejected):
    """What the job wants to make of a file cannot be made of it."""

    code, title = "output_refused", "What the script left is not what its job wants"


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a file."""

    path: str
    row: Version | Dataset
    rule: Mapping[str, Any]


async def finish_script(held: Held, resources: Resources, run: Run, progress: Mapping[str, Json]) -> Outcome:
    """Make what is wanted of the files, wait until it is ready, and end the run."""
    try:
        async with resources.database.write() as session:
            work = await lock_held(session, held.claim, held.row)
            assert isinstance(work.row, Operation)
            await unwant_run(session, run.id, work.row.generation)
            made = [await _make(session, run, path, rule) for path, rule in (run.spec.get("outputs") or {}).items()]
            for each in made:
                await _alias(session, run, each)
    except (OutputMissing, OutputRefused, NameTaken, NotFound) as error:
        return _failed(run, error, progress)
    waiting = [each for each in made if each.row.status in UNDER_WAY]
    if waiting:
        words = f"{waiting[0].path} is being read"
        return Wait(LOOK, words, Progress(99, "publishing", words))
    bad = [each for each in made if each.row.status != "ready"]
    if bad:
        what = "is no model that can be served" if isinstance(bad[0].row, Version) else "cannot be read as a dataset"
        return _failed(run, OutputRefused(f"'{bad[0].path}' {what}: {bad[0].row.message}"), progress)
    return _done(run, made, progress)


def _done(run: Run, made: list[Made], progress: Mapping[str, Json]) -> Done:
    now = now_micros()
    told = {name: progress[name] for name in ("cpu_s", "memory_bytes", "percent", "detail") if progress.get(name)}
    registered = [
        {"path": each.path, "model": each.rule["register"]["model"], "version": str(each.row.number)}
        for each in made
        if isinstance(each.row, Version)
    ]
    datasets = [{"path": each.path, "dataset": each.row.name} for each in made if isinstance(each.row, Dataset)]
    summary = {**told, "registered": registered, "datasets": datasets}
    first = next((each.row.id for each in made if isinstance(each.row, Dataset)), None)
    ended = {**stretch(run, progress), "completed_at": now, "error": None, "summary": summary, "output_id": first}
    return Done(result={"registered": registered, "datasets": datasets}, target=ended)


def _failed(run: Run, error: PlatformError, progress: Mapping[str, Json]) -> Failed:
    now, problem = now_micros(), error.as_problem()
    return Failed(problem, target={**stretch(run, progress), "completed_at": now, "error": problem})


async def _make(session: WriteSession, run: Run, path: str, rule: Mapping[str, Any]) -> Made:
    file = await seek_file(session, run.id, "output", path)
    if file is None:
        raise OutputMissing(f"the script ended well, and left no '{path}' in its output folder")
    if file.made_id is not None:
        return Made(path, await _known(session, file.made_id, "register" in rule), rule)
    who = Who(run.tenant_id, f"run:{run.job_name}/{run.number}", "member")
    row: Version | Dataset
    if "register" in rule:
        row = await _register(session, who, run, file, rule["register"])
    else:
        row = await _dataset(session, who, run, file, rule["dataset"])
    file.made_id = row.id
    await session.flush()
    return Made(path, row, rule)


async def _known(session: Session, made_id: str, is_version: bool) -> Version | Dataset:
    return await session.get_one(Version, made_id) if is_version else await session.get_one(Dataset, made_id)


async def _register(session: WriteSession, who: Who, run: Run, file: RunArtifact, rule: Mapping[str, Any]) -> Version:
    ending = PurePosixPath(file.path).suffix.lower()
    if ending not in FORMATS:
        known = ", ".join(FORMATS)
        raise OutputRefused(f"'{file.path}' cannot be registered: its name ends in none of {known}")
    model = await seek_model(session, who.tenant_id, rule["model"])
    if model is None:
        model = await create_model(session, who, rule["model"], Description())
    about = Description(description=rule.get("description") or f"Of run {run.number} of job '{run.job_name}'.")
    name = PurePosixPath(file.path).name
    wanted = NewVersion(file.digest, file.size_bytes, FORMATS[ending], filename=name, about=about)
    version, _ = await add_version(session, who, model, wanted)
    return version


async def _dataset(session: WriteSession, who: Who, run: Run, file: RunArtifact, template: str) -> Dataset:
    name = output_name(template, run.job_name, run.number, run.is_for)
    if await seek_dataset(session, who.tenant_id, name) is not None:
        name = await free_name(session, who.tenant_id, name, run.number)
    about = Description(description=f"Of run {run.number} of job '{run.job_name}'.")
    pieces = [Piece(file.digest, file.size_bytes)]
    new = NewDataset(name, pieces=pieces, filename=PurePosixPath(file.path).name, about=about)
    row, _ = await create_dataset(session, who, new)
    return row


async def _alias(session: WriteSession, run: Run, made: Made) -> None:
    """Let an alias mean a version that has turned out to be one."""
    name = (made.rule.get("register") or {}).get("alias")
    if name is None or not isinstance(made.row, Version) or made.row.status != "ready":
        return
    model = await session.get_one(Model, made.row.model_id)
    who = Who(run.tenant_id, f"run:{run.job_name}/{run.number}", "member")
    await set_alias(session, who, model, name, made.row)
