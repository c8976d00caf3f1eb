"""Blobs as uploads meet them: a put touches the row before anything refers to the bytes (see `state.sweeping`)."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from core.clock import now_micros
from state.database import WriteSession
from state.tables import Blob


async def touch_blob(session: WriteSession, digest: str, size_bytes: int) -> bool:
    """Insert or refresh the row; True when the blob was doomed, so that its bytes may be gone after the commit."""
    query = select(Blob.doomed_at).where(Blob.digest == digest).with_for_update()
    was_doomed = (await session.execute(query)).scalar_one_or_none() is not None
    insert = postgresql_insert if session.get_bind().dialect.name == "postgresql" else sqlite_insert
    now = now_micros()
    fresh = insert(Blob).values(digest=digest, size_bytes=size_bytes, touched_at=now, doomed_at=None)
    statement = fresh.on_conflict_do_update(index_elements=["digest"], set_={"touched_at": now, "doomed_at": None})
    await session.execute(statement)
    return was_doomed
