"""A database one of whose reads is late: what it shows is older than what others have read meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import select

from state.database import Database, ReadSession
from state.installation import Switch


class Held(Database):
    """Another view of a database: the first read after `hold` goes on when it is let, with what there was before."""

    def __init__(self, database: Database) -> None:
        vars(self).update(vars(database))
        self.began, self.goes_on = asyncio.Event(), asyncio.Event()
        self._holds = False

    def hold(self) -> None:
        """Hold the next read."""
        self._holds = True

    @asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        """See `Database`."""
        async with super().read() as session:
            if self._holds:
                self._holds = False
                await session.scalar(select(Switch.name))  # a transaction sees what there is at its first statement
                self.began.set()
                await self.goes_on.wait()
            yield session
