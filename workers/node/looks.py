"""A supervisor's looks in one term: again and again, at once when somebody calls, and through whatever goes wrong."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from core.errors import DatabaseBusy
from core.outages import Outage
from state.database import Database, Session
from workers.node.lease import Term, TermOver

log = logging.getLogger(__name__)
AFTER_TROUBLE_S = 1.0
READ_WITHIN_S = 10.0
Read = TypeVar("Read")


class Looks:
    """Looks until the term is over or it is closed. `wake` is set by whoever has news, `what` names what is wanted."""

    def __init__(self, what: str, term: Term, wake: asyncio.Event) -> None:
        self.is_closed = False
        self._what, self._term, self._wake = what, term, wake
        self._outage = Outage(log, f"the node cannot see {what}; what runs goes on")

    def close(self) -> None:
        """Look no more."""
        self.is_closed = True
        self._wake.set()

    async def run(self, look: Callable[[], Awaitable[float]]) -> None:
        """Look ever again: after the pause that a look answers, or earlier. Raises `TermOver`."""
        while not self.is_closed:
            self._wake.clear()
            if self._term.is_over:
                raise TermOver("another node was elected")
            pause_s = await self._safely(look)
            try:
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            except TimeoutError:
                pass  # nobody called: look all the same

    async def _safely(self, look: Callable[[], Awaitable[float]]) -> float:
        try:
            pause_s = await look()
        except TermOver:
            raise
        except DatabaseBusy as error:
            self._outage.met(error.message)
            return AFTER_TROUBLE_S
        except Exception:
            log.exception("the node cannot look at %s; it tries again in %g s", self._what, AFTER_TROUBLE_S)
            return AFTER_TROUBLE_S
        self._outage.over()
        return pause_s


async def read_rows(database: Database, read: Callable[[Session], Awaitable[Read]]) -> Read:
    """What the rows say. Raises `DatabaseBusy`, also where no answer comes."""
    try:
        # A connection whose other end vanished would hang for a quarter of an hour.
        async with asyncio.timeout(READ_WITHIN_S), database.read() as session:
            return await read(session)
    except TimeoutError as error:
        raise DatabaseBusy(f"the database did not answer within {READ_WITHIN_S:g} s") from error
