"""Files of a dataset of files: each change is one of its rows and of its sums, in the caller's one transaction."""

from core.clock import now_micros
from core.errors import Conflict, FieldProblem, InUse
from state.blobs import hold_blob
from state.creating import NewFile
from state.database import WriteSession
from state.datasets import check_ready
from state.datatables import Dataset, DatasetFile
from state.queries.datasets import beside_path, find_file, seek_file, users_of_dataset


class NoFiles(Conflict):
    """The dataset is a table."""

    code, title = "no_files", "The dataset has rows, not files"


class PathTaken(Conflict):
    """A file would be a folder, too: no disk and no archive can hold both."""

    code, title = "path_taken", "The path is another file's"


def check_has_files(row: Dataset) -> None:
    """Raises `NoFiles`."""
    if row.kind != "files":
        raise NoFiles(f"dataset '{row.name}' is a table; make one with kind 'files' for files")


async def put_file(session: WriteSession, row: Dataset, file: NewFile) -> DatasetFile:
    """A file for a locked dataset, in place of a former one under its path. Raises `InUse`, `DatasetNotReady`,
    `StoreUnavailable`."""
    await _check_changeable(session, row)
    await hold_blob(session, file.digest)
    found = await seek_file(session, row.id, file.path)
    former_bytes = 0 if found is None else found.size_bytes
    if found is None:
        await _check_place(session, row, file.path)
        found = DatasetFile(dataset_id=row.id, path=file.path)
        session.add(found)
    found.digest, found.size_bytes, found.content_type = file.digest, file.size_bytes, file.content_type
    is_new = found.created_at is None
    found.created_at = now_micros()
    _count(session, row, int(is_new), file.size_bytes - former_bytes)
    await session.flush()
    return found


async def remove_file(session: WriteSession, row: Dataset, path: str) -> None:
    """Forget a file of a locked dataset; its bytes go when nothing else refers to them. Raises `NotFound`, `InUse`."""
    await _check_changeable(session, row)
    found = await find_file(session, row, path)
    await session.delete(found)
    _count(session, row, -1, -found.size_bytes)
    await session.flush()


async def _check_place(session: WriteSession, row: Dataset, path: str) -> None:
    beside = await beside_path(session, row.id, path)
    if beside is not None:
        detail = f"dataset '{row.name}' has a file '{beside[:200]}': one of them would be a folder, too"
        hint = "take another path, or delete that file first"
        raise PathTaken(f"{detail}; {hint}", fields=[FieldProblem("/path", detail, hint)])


async def _check_changeable(session: WriteSession, row: Dataset) -> None:
    check_has_files(row)
    await check_ready(session, row)
    users = await users_of_dataset(session, row.id)
    if users:
        detail = f"dataset '{row.name}' is read by {users[0]}; its files stay as they are until that has ended"
        raise InUse(detail, runs=list(users))


def _count(session: WriteSession, row: Dataset, files: int, size_bytes: int) -> None:
    row.files = (row.files or 0) + files
    row.size_bytes = (row.size_bytes or 0) + size_bytes
    row.edition += 1
    row.updated_at = now_micros()
    session.tell("changed", "dataset", row.id)
