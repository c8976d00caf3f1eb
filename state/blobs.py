"""Blobs as uploads meet them: a put touches the row before anything refers to the bytes (see `state.sweeping`)."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from core.clock import now_micros
from core.errors import StoreUnavailable
from state.database import WriteSession
from state.tables import Blob


async def touch_blob(session: WriteSession, digest: str, size_bytes: int) -> None:
    """Insert or refresh the row. Raises `StoreUnavailable` while the sweeper deletes the bytes.

    It may have deleted them just before: whoever relies on them looks for them after the commit.
    """
    query = select(Blob.doomed_at).where(Blob.digest == digest).with_for_update()
    doomed_at = (await session.execute(query)).scalar_one_or_none()
    if doomed_at is not None and doomed_at < 0:
        raise StoreUnavailable("the same bytes are just being deleted here; send the file again")
    insert = postgresql_insert if session.get_bind().dialect.name == "postgresql" else sqlite_insert
    now = now_micros()
    fresh = insert(Blob).values(digest=digest, size_bytes=size_bytes, touched_at=now, doomed_at=None)
    statement = fresh.on_conflict_do_update(index_elements=["digest"], set_={"touched_at": now, "doomed_at": None})
    await session.execute(statement)
