"""One platform as everything else sees it: requests in, answers or errors out, repeated as `Retries` says.

Written once, as coroutines over a `Transport`; over one that blocks they never wait, and `finish` runs them to the end.
"""

import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from portside.errors import ApiError, ConnectionFailed, InvalidInput, PortsideError, UnexpectedAnswer, refusal_of
from portside.messages import Answer, Document, Repeat, Reply, Request
from portside.requests import reading
from portside.sources import Source

Found = TypeVar("Found")
TIMEOUT_S = 30.0  # for one call with all its attempts
UNTIL_DEADLINE = 1_000_000  # attempts: the deadline comes first
LONGEST_IDLE_S = 86_400.0  # a day of silence: sockets take no infinity
REPEATED_STATUSES = (429, 502, 503, 504)


class Transport(Protocol):
    """Where requests go. One implementation blocks, one waits on asyncio's loop."""

    url: str

    async def exchange(self, request: Request, token: str | None, idle_s: float) -> Reply:
        """Send it once; `idle_s` bounds each silence. Raises `ConnectionFailed`."""

    async def pause(self, seconds: float) -> None:
        """Let time pass."""

    async def digest(self, source: Source) -> str:
        """Its digest, which takes a while. Raises `OSError`."""

    async def close(self) -> None:
        """Let go of the connections."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is sent in all, and how long it pauses between.

    A pause is drawn evenly from 0 to a limit that doubles ("full jitter"), on top of what `Retry-After` asks for. Where
    that is more than `longest_wish_s`, or more than the call has left, the refusal is raised at once.
    """

    attempts: int = 5
    first_pause_s: float = 0.25
    longest_pause_s: float = 5.0
    longest_wish_s: float = 60.0
    waits_for_start: bool = True  # an address where nobody listens is tried again, too

    @property
    def patient(self) -> "Retries":
        """The same for who waits anyhow: as often as the time allows."""
        return self if self.attempts <= 1 else replace(self, attempts=UNTIL_DEADLINE)

    def pause_s(self, request: Request, error: PortsideError, attempt: int) -> float | None:
        """How long to pause after this attempt failed so; nothing where it must not be repeated."""
        wish_s = (error.retry_after_s or 0.0) if isinstance(error, ApiError) else 0.0
        if attempt >= self.attempts or wish_s > self.longest_wish_s or not self._may_repeat(request, error):
            return None
        limit_s = min(self.longest_pause_s, self.first_pause_s * 2 ** min(attempt - 1, 16))
        return wish_s + random.uniform(0, limit_s)  # noqa: S311 - nobody gains by guessing it

    def _may_repeat(self, request: Request, error: PortsideError) -> bool:
        if request.repeat is Repeat.NEVER:
            return False
        if isinstance(error, ConnectionFailed):
            return (error.was_sent or self.waits_for_start) and (request.repeat is Repeat.ALWAYS or not error.was_sent)
        if not isinstance(error, ApiError):
            return False
        if error.status == 503:  # where nothing could begin, unless the server stopped in the middle of it
            return error.code != "stopping" or request.repeat is Repeat.ALWAYS
        # In progress is our own first attempt, whose connection was lost on the way.
        is_passing = error.status in REPEATED_STATUSES or error.code == "idempotency_in_progress"
        return is_passing and request.repeat is Repeat.ALWAYS


class Session:
    """Sends requests to one platform."""

    def __init__(
        self,
        transport: Transport,
        token: str | None,
        timeout_s: float,
        retries: Retries,
        find_token: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`find_token` is asked when the platform wants a token and none was given. Raises `InvalidInput`."""
        self.timeout_s, self.retries = seconds(timeout_s), retries
        self._transport, self._token, self._find_token = transport, token, find_token

    async def send(self, request: Request, timeout_s: float | None = None, retries: Retries | None = None) -> Answer:
        """The answer, within the time for all attempts together.

        Raises `ConnectionFailed`, `ApiError`, `UnexpectedAnswer`, and `InvalidInput` for a time that is none.
        """
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else seconds(timeout_s))
        attempt = 1
        while True:
            try:
                return await self._attempt(request, deadline)
            except (ConnectionFailed, ApiError) as error:
                pause_s = (retries or self.retries).pause_s(request, error, attempt)
                if pause_s is None or time.monotonic() + pause_s >= deadline:
                    raise
            await self._transport.pause(pause_s)
            attempt += 1

    async def get(self, path: str, timeout_s: float | None = None) -> Document:
        """Read a resource. Raises what `send` raises."""
        return (await self.send(reading(path), timeout_s)).document

    async def digest(self, source: Source) -> str:
        """The digest of what is to be uploaded. Raises `OSError`."""
        return await self._transport.digest(source)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._transport.close()

    async def _attempt(self, request: Request, deadline: float) -> Answer:
        idle_s = min(max(request.idle_s or deadline - time.monotonic(), 0.001), LONGEST_IDLE_S)
        reply = await self._transport.exchange(request, self._token, idle_s)
        if reply.status == 401 and self._token is None and (found := self._find_token()) is not None:
            self._token = found
            reply = await self._transport.exchange(request, self._token, idle_s)
        if not 200 <= reply.status < 300:
            raise refusal_of(reply)
        document = reply.document
        if request.wants_document and reply.body and not document:
            raise UnexpectedAnswer(
                f"What answers at {self._transport.url} is no Portside platform: look at the address."
            )
        return Answer(reply.status, document, reply.headers, reply.body)


def seconds(given: float) -> float:
    """A time that somebody has. Raises `InvalidInput` for nan, which no deadline can be compared with."""
    if math.isnan(given):
        raise InvalidInput("timeout_s is nan: give a number of seconds, or math.inf for no limit.")
    return given


def finish(work: Awaitable[Found]) -> Found:
    """The result of what never waits, because its transport blocks."""
    try:
        next(work.__await__())
    except StopIteration as done:
        result: Found = done.value
        return result
    raise RuntimeError("a coroutine waited on a transport that blocks")
