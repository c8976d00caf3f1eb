"""Datasets: finding and listing them, what is in one, who reads it, and what the workers need to know of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import select

from core.errors import NotFound
from state.database import Session
from state.datatables import LARGE, Dataset, DatasetFile, DatasetPart
from state.jobtables import LIVE, Run
from state.queries.lists import Page, View, page
from state.queries.rows import begins_with
from state.tables import Operation

SHOWN_USERS = 50
AT_ONCE = 1000  # files of one page


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What its creation needs of a dataset. The digest is nothing until its bytes are in the store, in one piece."""

    id: str
    tenant_id: str
    name: str
    kind: str
    source_uri: str | None
    is_reference: bool
    credential_sealed: str | None
    upload_id: str | None
    filename: str | None
    digest: str | None
    size_bytes: int | None
    hints: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of a dataset's data: a blob, and its rows where they are known."""

    digest: str
    size_bytes: int
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a dataset of files: its path, and the blob that it is."""

    path: str
    digest: str
    size_bytes: int


async def find_dataset(session: Session, tenant_id: str, name: str) -> Dataset:
    """The tenant's dataset of this name. Raises `NotFound`."""
    dataset = await seek_dataset(session, tenant_id, name)
    if dataset is None:
        raise _no_dataset(name)
    return dataset


def _no_dataset(name: str) -> NotFound:
    return NotFound(f"no dataset is named '{name[:60]}'; GET /api/v1/datasets lists them")


async def seek_dataset(session: Session, tenant_id: str, name: str) -> Dataset | None:
    """The same, or nothing."""
    query = select(Dataset).where(Dataset.tenant_id == tenant_id, Dataset.name == name, Dataset.status != "deleted")
    return (await session.execute(query)).scalar_one_or_none()


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a look at a dataset's first rows needs of it."""

    name: str
    kind: str
    status: str
    message: str | None
    rows: int | None
    rows_are_estimated: bool
    preview_digest: str | None


async def find_beginning(session: Session, tenant_id: str, name: str) -> Beginning:
    """Of the tenant's dataset of this name. Raises `NotFound`."""
    wanted = [getattr(Dataset, each.name) for each in fields(Beginning)]
    query = select(*wanted).where(Dataset.tenant_id == tenant_id, Dataset.name == name, Dataset.status != "deleted")
    found = (await session.execute(query)).one_or_none()
    if found is None:
        raise _no_dataset(name)
    return Beginning(*found)


async def list_datasets(session: Session, tenant_id: str, view: View) -> Page[Dataset]:
    """The tenant's datasets, without what is known of their columns."""
    query = select(Dataset).where(Dataset.tenant_id == tenant_id, Dataset.status != "deleted")
    return await page(session, query, Dataset, view, without=LARGE)


async def dataset_facts(session: Session, dataset_id: str) -> DatasetFacts:
    """The facts of a dataset that exists."""
    row = (await session.scalars(select(Dataset).where(Dataset.id == dataset_id))).one()
    return DatasetFacts(
        id=row.id,
        tenant_id=row.tenant_id,
        name=row.name,
        kind=row.kind,
        source_uri=row.source_uri,
        is_reference=row.is_reference,
        credential_sealed=row.credential_sealed,
        upload_id=row.upload_id,
        filename=row.filename,
        digest=row.digest,
        size_bytes=row.size_bytes,
        hints=row.hints,
    )


async def pieces_of(session: Session, dataset_id: str) -> list[Piece]:
    """The present parts of a dataset, in order."""
    columns = (DatasetPart.digest, DatasetPart.size_bytes, DatasetPart.rows)
    query = select(*columns).where(DatasetPart.dataset_id == dataset_id, DatasetPart.ordinal >= 0)
    return [Piece(*row) for row in await session.execute(query.order_by(DatasetPart.ordinal))]


async def files_of(
    session: Session, dataset_id: str, *, after: str = "", prefix: str = "", limit: int
) -> list[DatasetFile]:
    """Files of a dataset in the order of their paths, from behind a path on."""
    query = select(DatasetFile).where(DatasetFile.dataset_id == dataset_id, DatasetFile.path > after)
    if prefix:
        query = query.where(begins_with(DatasetFile.path, prefix))
    return list(await session.scalars(query.order_by(DatasetFile.path).limit(limit)))


async def all_files(session: Session, dataset_id: str, most: int) -> list[StoredFile]:
    """All files of a dataset in the order of their paths, at most so many; others of this process have their turns
    between two pages of them."""
    columns = (DatasetFile.path, DatasetFile.digest, DatasetFile.size_bytes)
    query = select(*columns).where(DatasetFile.dataset_id == dataset_id).order_by(DatasetFile.path).limit(AT_ONCE)
    found: list[StoredFile] = []
    after = ""
    while len(found) < most:
        some = [StoredFile(*row) for row in await session.execute(query.where(DatasetFile.path > after))]
        found += some
        if len(some) < AT_ONCE:
            break
        after = some[-1].path
    return found[:most]


async def find_file(session: Session, dataset: Dataset, path: str) -> DatasetFile:
    """One file of a dataset. Raises `NotFound`."""
    found = await seek_file(session, dataset.id, path)
    if found is None:
        where = f"/api/v1/datasets/{dataset.name}/files"
        raise NotFound(f"dataset '{dataset.name}' has no file '{path[:200]}'; GET {where} lists them")
    return found


async def seek_file(session: Session, dataset_id: str, path: str) -> DatasetFile | None:
    """The same, or nothing."""
    query = select(DatasetFile).where(DatasetFile.dataset_id == dataset_id, DatasetFile.path == path)
    return (await session.execute(query)).scalar_one_or_none()


async def beside_path(session: Session, dataset_id: str, path: str) -> str | None:
    """A file of a dataset that keeps a new one from this path: it would have to be a folder, too, or is below it."""
    steps = path.split("/")
    above = ["/".join(steps[:count]) for count in range(1, len(steps))]
    query = select(DatasetFile.path).where(DatasetFile.dataset_id == dataset_id)
    in_the_way = DatasetFile.path.in_(above) | begins_with(DatasetFile.path, f"{path}/")
    return (await session.scalars(query.where(in_the_way).limit(1))).first()


async def users_of_dataset(session: Session, dataset_id: str) -> Sequence[str]:
    """The paths of the live runs that read a dataset."""
    query = select(Run.job_name, Run.number).where(Run.dataset_id == dataset_id, LIVE)
    found = await session.execute(query.order_by(Run.created_at, Run.id).limit(SHOWN_USERS))
    return [f"/api/v1/jobs/{job}/runs/{number}" for job, number in found]


async def creation_of(session: Session, dataset_id: str) -> str | None:
    """The id of the dataset's creation that is not finished."""
    query = select(Operation.id).where(
        Operation.target_id == dataset_id,
        Operation.kind == "dataset.create",
        Operation.status.in_(["queued", "running"]),
    )
    return (await session.scalars(query.limit(1))).first()
