"""Blobs as uploads meet them: a put touches the row, and what refers to the bytes locks it (see `state.sweeping`)."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.dialects.postgresql import Insert as PostgresqlInsert
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert

from core.clock import Micros, now_micros, to_micros
from core.errors import StoreUnavailable
from state.database import WriteSession, db_now
from state.tables import Blob

HELD_AT_ONCE: Final = 500
# A deletion begins this soon after its condemnation or never, however long its sweeper was paused in between.
DELETED_WITHIN: Final = timedelta(seconds=10)
# Later than that, and than any request to a store, nobody still deletes: who condemned died.
CONDEMNED_FOR: Final = timedelta(seconds=60)


async def touch_blob(session: WriteSession, digest: str, size_bytes: int) -> None:
    """Insert or refresh the row. Raises `StoreUnavailable` while the sweeper deletes the bytes.

    It may have deleted them just before: whoever relies on them looks for them after the commit.
    """
    query = select(_is_being_deleted()).where(Blob.digest == digest).with_for_update(of=Blob)
    if await session.scalar(query):
        raise StoreUnavailable("the same bytes are just being deleted here; send the file again")
    now = now_micros()
    fresh = _new(session, digest, size_bytes, now)
    statement = fresh.on_conflict_do_update(index_elements=["digest"], set_={"touched_at": now, "doomed_at": None})
    await session.execute(statement)


async def touch_blobs(session: WriteSession, sizes: Mapping[str, int]) -> None:
    """The same for many, whose bytes may come after it: from now on no sweeper begins to delete them for as long as a
    blob may idle. Raises `StoreUnavailable` while one of them is being deleted."""
    ordered, now = sorted(sizes), now_micros()  # in one order, whoever locks them
    for start in range(0, len(ordered), HELD_AT_ONCE):
        some = ordered[start : start + HELD_AT_ONCE]
        query = select(_is_being_deleted()).where(Blob.digest.in_(some)).order_by(Blob.digest)
        if any(await session.scalars(query.with_for_update(of=Blob))):
            raise StoreUnavailable("some of the same bytes are just being deleted here; try it again")
        rows = [{"digest": each, "size_bytes": sizes[each], "touched_at": now, "doomed_at": None} for each in some]
        await session.execute(_touching(session, now), rows)


async def hold_blob(session: WriteSession, digest: str) -> None:
    """Lock the row in the transaction that refers to the bytes, so that no sweeper can miss the reference.

    Raises `StoreUnavailable` where the sweeper was faster: the uploader stood still for longer than a blob idles.
    """
    alive = or_(Blob.doomed_at.is_(None), Blob.doomed_at > 0)
    touch = update(Blob).where(Blob.digest == digest, alive).values(touched_at=now_micros(), doomed_at=None)
    touched = await session.scalars(touch.returning(Blob.digest).execution_options(synchronize_session=False))
    if touched.one_or_none() is None:
        raise StoreUnavailable("the uploaded bytes were deleted before anything referred to them; send the file again")


async def hold_blobs(session: WriteSession, digests: Collection[str]) -> None:
    """The same for many. Raises `StoreUnavailable` where the sweeper was faster with one of them."""
    ordered = sorted(set(digests))  # in one order, whoever locks them
    for start in range(0, len(ordered), HELD_AT_ONCE):
        some = ordered[start : start + HELD_AT_ONCE]
        alive = or_(Blob.doomed_at.is_(None), Blob.doomed_at > 0)
        touch = update(Blob).where(Blob.digest.in_(some), alive).values(touched_at=now_micros(), doomed_at=None)
        touched = await session.scalars(touch.returning(Blob.digest).execution_options(synchronize_session=False))
        if len(touched.all()) < len(some):
            raise StoreUnavailable("some of the bytes were deleted before anything referred to them; try it again")


async def insert_blob(session: WriteSession, digest: str, size_bytes: int, touched_at: Micros) -> None:
    """Insert the row; one that an upload makes at the same time stays as it is."""
    await session.execute(_new(session, digest, size_bytes, touched_at).on_conflict_do_nothing())


def _new(session: WriteSession, digest: str, size_bytes: int, touched_at: Micros) -> PostgresqlInsert | SqliteInsert:
    is_postgresql = session.get_bind().dialect.name == "postgresql"
    row = {"digest": digest, "size_bytes": size_bytes, "touched_at": touched_at, "doomed_at": None}
    return PostgresqlInsert(Blob).values(**row) if is_postgresql else SqliteInsert(Blob).values(**row)


def _touching(session: WriteSession, now: Micros) -> PostgresqlInsert | SqliteInsert:
    is_postgresql = session.get_bind().dialect.name == "postgresql"
    fresh = PostgresqlInsert(Blob) if is_postgresql else SqliteInsert(Blob)
    return fresh.on_conflict_do_update(index_elements=["digest"], set_={"touched_at": now, "doomed_at": None})


def _is_being_deleted() -> ColumnElement[bool]:
    """Whether a blob is condemned, and its sweeper may be at it; nothing for one that is not doomed."""
    return (Blob.doomed_at < 0) & ~overdue()


def overdue() -> ColumnElement[bool]:
    """A condemned blob whose sweeper must be dead, by the database's clock: hosts do not agree on what time it is."""
    return (Blob.doomed_at < 0) & (Blob.doomed_at > to_micros(CONDEMNED_FOR) - db_now())
