"""What a run reads that is no part of a dataset, held for it until it has ended: a copy of what a reference names, and
each file of a dataset of files as it was when the run began.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, insert, literal, select

from core.clock import now_micros
from state.blobs import hold_blob
from state.database import Session, WriteSession
from state.datatables import DatasetFile
from state.jobtables import RunArtifact

INPUT: Final = "input"  # the role
COPY: Final = "source"  # the path under which a reference's copy is held


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file that a run reads."""

    path: str
    digest: str
    size_bytes: int


async def keep_copy(session: WriteSession, run_id: str, digest: str, size_bytes: int, path: str = COPY) -> None:
    """Hold the bytes that a reference named. Raises `StoreUnavailable` where the sweeper was faster."""
    await hold_blob(session, digest)
    at = now_micros()
    session.add(RunArtifact(run_id=run_id, path=path, role=INPUT, digest=digest, size_bytes=size_bytes, created_at=at))
    await session.flush()


async def keep_files(session: WriteSession, run_id: str, dataset_id: str) -> None:
    """Hold every file of a locked dataset."""
    files = select(
        *(literal(run_id), DatasetFile.path, literal(INPUT), DatasetFile.digest, DatasetFile.size_bytes),
        literal(now_micros()),
    ).where(DatasetFile.dataset_id == dataset_id)
    columns = ["run_id", "path", "role", "digest", "size_bytes", "created_at"]
    await session.execute(insert(RunArtifact).from_select(columns, files))


async def inputs_of(session: Session, run_id: str) -> Sequence[InputFile]:
    """What is held for a run, in the order of the paths."""
    columns = (RunArtifact.path, RunArtifact.digest, RunArtifact.size_bytes)
    query = select(*columns).where(RunArtifact.run_id == run_id, RunArtifact.role == INPUT)
    return [InputFile(*row) for row in await session.execute(query.order_by(RunArtifact.path))]


async def let_go(session: WriteSession, run_id: str) -> None:
    """Hold nothing any more."""
    mine = (RunArtifact.run_id == run_id, RunArtifact.role == INPUT)
    await session.execute(delete(RunArtifact).where(*mine).execution_options(synchronize_session=False))
