"""Requests with one Idempotency-Key at the same time in this process: one does the work, the others get what it made.

So a thousand duplicates cost one transaction, and do not stand in line for the database's connections.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from core.errors import PlatformError
from state.queries.idempotency import reused

Result = TypeVar("Result")
Read = TypeVar("Read")
Scope = tuple[str, ...]


@dataclass(eq=False, slots=True)
class Flight(Generic[Result]):
    """One request under way; `fingerprint` tells what is asked."""

    fingerprint: str
    landed: "asyncio.Future[Result]"
    reading: "asyncio.Future[Any] | None" = field(default=None)

    async def shared(self, read: Callable[[], Awaitable[Read]]) -> Read:
        """What the first of the followers reads, for all of them."""
        if self.reading is None:
            self.reading = asyncio.ensure_future(read())
        found: Read = await asyncio.shield(self.reading)
        return found


@dataclass(frozen=True, slots=True)
class Landed(Generic[Result]):
    """What came of a request, and the flight that a duplicate joined."""

    result: Result
    joined: Flight[Result] | None = None


class Flights:
    """The requests with a key that are under way here."""

    def __init__(self) -> None:
        self._under_way: dict[Scope, Flight[Any]] = {}

    async def join(self, scope: Scope, fingerprint: str, work: Callable[[], Awaitable[Result]]) -> Landed[Result]:
        """Do the work, or wait for who does it.

        A duplicate shares the error, too. Raises `IdempotencyKeyReused` when something else was asked with the key.
        """
        while (flight := self._under_way.get(scope)) is not None:
            await asyncio.wait({flight.landed})
            if flight.landed.cancelled():
                continue  # its client went away before anything was done: the next one takes its place
            if flight.fingerprint == fingerprint:
                return Landed(flight.landed.result(), flight)
            if flight.landed.exception() is None:
                raise reused(scope[-1])
        return Landed(await self._lead(scope, fingerprint, work))

    async def _lead(self, scope: Scope, fingerprint: str, work: Callable[[], Awaitable[Result]]) -> Result:
        flight: Flight[Result] = Flight(fingerprint, asyncio.get_running_loop().create_future())
        self._under_way[scope] = flight
        try:
            result = await work()
        except PlatformError as error:
            flight.landed.set_exception(error)
            flight.landed.exception()  # nobody may be waiting to see it
            raise
        else:
            flight.landed.set_result(result)
            return result
        finally:
            del self._under_way[scope]
            flight.landed.cancel()  # nothing where it has landed
