"""The files of a script's run: what it reads, pinned when it first starts; what it left; its newest checkpoint.

Each row is a reference to a blob. Inputs and checkpoint go when the run has ended for good, outputs with the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import delete, insert, select

from core.clock import now_micros
from core.errors import NotFound
from state.blobs import hold_blobs
from state.database import Session, WriteSession
from state.jobtables import Run, RunArtifact
from state.queries.rows import begins_with
from state.runplacing import hold_process

Role = Literal["input", "output", "checkpoint"]
CHECKPOINT: Final = "checkpoint.tar"
AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class RunFile:
    """Stored bytes, and the path that they have for the script."""

    path: str
    digest: str
    size_bytes: int


async def add_inputs(session: WriteSession, run_id: str, files: Sequence[RunFile]) -> None:
    """Pin what a run reads: whatever becomes of the datasets and versions, these bytes stay until it has ended.

    Raises `StoreUnavailable`.
    """
    await _add(session, run_id, "input", files)


async def keep_files(
    session: WriteSession, run_id: str, epoch: int, role: Role, files: Sequence[RunFile], *, first: bool = True
) -> None:
    """Keep what the process of this epoch left; with the `first` of them go those of an attempt before.

    Raises `ProcessGone`, `StoreUnavailable`.
    """
    await hold_process(session, run_id, epoch)
    mine = (RunArtifact.run_id == run_id, RunArtifact.role == role)
    if first:
        await session.execute(delete(RunArtifact).where(*mine, RunArtifact.made_id.is_(None)))
    # What something was made of already, and has the same bytes again, is not made again.
    made = await session.scalars(select(RunArtifact).where(*mine, RunArtifact.path.in_([file.path for file in files])))
    known = {row.path: row for row in made}
    for file in files:
        row = known.get(file.path)
        if row is not None and row.digest != file.digest:
            await session.delete(known.pop(file.path))
    await session.flush()
    await _add(session, run_id, role, [file for file in files if file.path not in known])


async def files_of_run(
    session: Session, run_id: str, role: Role, *, after: str = "", prefix: str = "", limit: int = AT_ONCE
) -> list[RunArtifact]:
    """Files of one role in the order of their paths, from behind a path on."""
    query = select(RunArtifact).where(RunArtifact.run_id == run_id, RunArtifact.role == role, RunArtifact.path > after)
    if prefix:
        query = query.where(begins_with(RunArtifact.path, prefix))
    return list(await session.scalars(query.order_by(RunArtifact.path).limit(limit)))


async def all_inputs(session: Session, run_id: str) -> list[RunFile]:
    """Everything that a run reads."""
    columns = (RunArtifact.path, RunArtifact.digest, RunArtifact.size_bytes)
    query = select(*columns).where(RunArtifact.run_id == run_id, RunArtifact.role == "input")
    return [RunFile(*row) for row in await session.execute(query.order_by(RunArtifact.path))]


async def seek_file(session: Session, run_id: str, role: Role, path: str) -> RunArtifact | None:
    """One file of a run, or nothing."""
    return await session.get(RunArtifact, (run_id, role, path))


async def find_output(session: Session, run: Run, path: str) -> RunArtifact:
    """A file that a script left. Raises `NotFound`."""
    found = await seek_file(session, run.id, "output", path)
    if found is None:
        where = f"/api/v1/jobs/{run.job_name}/runs/{run.number}/artifacts"
        raise NotFound(f"run {run.number} of job '{run.job_name}' left no file '{path[:200]}'; GET {where} lists them")
    return found


async def forget_inputs(session: WriteSession, run_id: str) -> None:
    """Forget what a run that has ended read, and its checkpoint."""
    gone = delete(RunArtifact).where(RunArtifact.run_id == run_id, RunArtifact.role != "output")
    await session.execute(gone.execution_options(synchronize_session=False))


async def _add(session: WriteSession, run_id: str, role: Role, files: Sequence[RunFile]) -> None:
    now = now_micros()
    for start in range(0, len(files), AT_ONCE):
        some = files[start : start + AT_ONCE]
        await hold_blobs(session, sorted({file.digest for file in some}))
        rows = [
            {
                "run_id": run_id,
                "role": role,
                "path": file.path,
                "digest": file.digest,
                "size_bytes": file.size_bytes,
                "created_at": now,
            }
            for file in some
        ]
        await session.execute(insert(RunArtifact), rows)
