"""Files that clients keep here for their inputs: rows only, the bytes are blobs (see `state.blobs`)."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import select

from core.clock import now_micros
from core.errors import FieldProblem, InvalidField, Json
from core.ids import new_id
from state.blobs import hold_blob
from state.database import Session, WriteSession
from state.operations import Who
from state.queries.lists import Page, View, page
from state.queries.rows import nowhere, owned
from state.tables import File

DEEPEST = 64
MOST_FILES = 1_000  # of one input; PostgreSQL takes 32,767 parameters


@dataclass(frozen=True, slots=True)
class Named:
    """A file that an input names, and where: long names are cut in the pointer, so that two may be alike."""

    pointer: str
    file_id: str


def named_files(document: Json) -> list[Named]:
    """The files that an input names as `{"$file": "file_…"}`. Raises `InvalidField` where they are too many."""
    found: list[Named] = []
    for named in _named(document, "", DEEPEST):
        if len(found) == MOST_FILES:
            detail, hint = f"an input names at most {MOST_FILES} files", "send less at a time"
            fields = [FieldProblem(named.pointer, detail, hint)]
            raise InvalidField(f"{named.pointer}: {detail}; {hint}", fields=fields)
        found.append(named)
    return found


def _named(value: Json, pointer: str, depth: int) -> Iterator[Named]:
    """No input has so many dimensions that there could be one below `depth` levels."""
    if not depth:
        return
    if isinstance(value, list):
        for at, each in enumerate(value):
            if isinstance(each, list | dict):
                yield from _named(each, f"{pointer}/{at}", depth - 1)
    elif isinstance(value, dict):
        if value.keys() == {"$file"} and isinstance(value["$file"], str):
            yield Named(pointer, value["$file"])
            return
        for name, each in value.items():
            if isinstance(each, list | dict):
                yield from _named(each, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')[:100]}", depth - 1)


@dataclass(frozen=True, slots=True)
class NewFile:
    """What is in the store, and what its owner says of it."""

    digest: str
    size_bytes: int
    name: str
    content_type: str
    about: dict[str, Json]


async def add(session: WriteSession, who: Who, new: NewFile) -> File:
    """A file that refers to a blob from now on. Raises `StoreUnavailable` where the sweeper was faster."""
    await hold_blob(session, new.digest)
    row = File(
        id=new_id("file"),
        tenant_id=who.tenant_id,
        created_at=now_micros(),
        name=new.name,
        content_type=new.content_type,
        size_bytes=new.size_bytes,
        digest=new.digest,
        about=dict(new.about),
    )
    session.add(row)
    await session.flush()
    return row


async def find(session: Session, tenant_id: str, file_id: str) -> File:
    """The tenant's file. Raises `NotFound`."""
    return await owned(session, File, tenant_id, file_id, "file")


async def stored_files(session: Session, tenant_id: str, ids: Collection[str]) -> dict[str, File]:
    """Those of the tenant's files that are still there, by id."""
    rows = await session.scalars(select(File).where(File.tenant_id == tenant_id, File.id.in_(ids)))
    return {row.id: row for row in rows}


async def hold(session: WriteSession, tenant_id: str, file_id: str) -> File:
    """The same, locked against other writers until the transaction ends."""
    query = select(File).where(File.id == file_id, File.tenant_id == tenant_id)
    row = (await session.execute(query.with_for_update())).scalar_one_or_none()
    if row is None:
        raise nowhere("file", file_id)
    return row


async def listing(session: Session, tenant_id: str, view: View) -> Page[File]:
    """The tenant's files."""
    return await page(session, select(File).where(File.tenant_id == tenant_id), File, view)


async def remove(session: WriteSession, row: File) -> None:
    """Forget a held file; its bytes go when nothing else refers to them."""
    await session.delete(row)
    await session.flush()
