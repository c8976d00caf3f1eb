"""A write that may lose a race: what a concurrent transaction made first is seen at the second try."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import IntegrityError

from state.database import Database, WriteSession

T = TypeVar("T")


async def commit(database: Database, work: Callable[[WriteSession], Awaitable[T]]) -> T:
    """Run `work` in one write transaction, once more when a unique rule broke: its checks then find the winner's row.

    `work` must be safe to run again after a rollback. Raises what `work` raises, and `DatabaseBusy`.
    """
    try:
        async with database.write() as session:
            return await work(session)
    except IntegrityError:
        async with database.write() as session:
            return await work(session)
