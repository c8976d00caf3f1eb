"""A call of many messages: a task reads them one by one, and is held up by a client that does not take the answers."""

import asyncio
import sys
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from serving.grpc_call import Asked, Call, Message
from serving.grpc_head import HEAD, OK, CallRefused, refusal
from serving.grpc_unary import TOO_LATE
from serving.http2.stream import Carrier, Stream
from serving.messages import Request
from serving.protocols.grpc_status import Code

STOPPING = "the server is stopping; connect again"
MOST_WAITING = 16  # messages that were cut before they are asked for


@dataclass(frozen=True, slots=True)
class ManyMessages:
    """What opens such calls: what is asked, and what answers."""

    asked: Asked
    answer: "Callable[[Talk], Awaitable[None]]"

    def open(self, connection: Carrier, stream_id: int) -> Stream:
        """See `Opening`."""
        return Talk(connection, stream_id, self.asked, self.answer)


class Talk(Call):
    """One such call, for the task that answers it."""

    __slots__ = (
        "_answered_by",
        "_drained",
        "_given",
        "_has_begun",
        "_is_stopping",
        "_queue",
        "_task",
        "_timer",
        "_waiter",
        "deadline",
    )

    def __init__(
        self, connection: Carrier, stream_id: int, asked: Asked, answered_by: "Callable[[Talk], Awaitable[None]]"
    ) -> None:
        super().__init__(connection, stream_id, asked)
        timeout_s = asked.timeout_s
        self.deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._answered_by, self._queue = answered_by, deque[Message]()
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._has_begun = self._is_stopping = False
        self._given = 0  # messages

    # The task calls these.

    async def next(self) -> Request | None:
        """The request of the next message; None where there are no more. Raises `CallRefused`."""
        self._given += 1
        if not self._given % MOST_WAITING:  # others have their turn, also while nothing has to be waited for
            await asyncio.sleep(0)
        while not self._queue:
            self.look()
            if self._queue:
                break
            if self.is_ended:
                if self.is_in_message:
                    raise CallRefused(Code.INVALID_ARGUMENT, "the last message is not complete")
                return None
            if self._is_stopping:
                raise CallRefused(Code.UNAVAILABLE, STOPPING)
            self._waiter = self.connection.loop.create_future()
            await self._waiter
        message = self._queue.popleft()
        self.used(message)
        try:
            request = self.asked.request(message, self.deadline)
        except CallRefused:
            self.connection.store.give_back(message.room_bytes)
            raise
        self.connection.store.keep(request, message.room_bytes)
        return request

    async def send(self, data: bytes) -> None:
        """Send one message; waits until the client takes it."""
        if not self._has_begun:
            self._has_begun = True
            self.connection.begin(self, HEAD)
        self.connection.write(self, data)
        if self.pending:
            self._drained = self.connection.loop.create_future()
            await self._drained

    @property
    def is_sated(self) -> bool:
        """See `Call`."""
        return len(self._queue) >= MOST_WAITING

    # The connection calls these.

    def opened(self) -> None:
        """See `Stream`."""
        self._task = self.connection.loop.create_task(self._run())
        self._task.add_done_callback(self._over)
        if self.deadline is not None:
            self._timer = self.connection.loop.call_later(max(self.deadline - time.monotonic(), 0), self._late)

    def came(self, message: Message) -> None:
        """See `Call`."""
        self._queue.append(message)
        self._wake()

    def ended(self) -> None:
        """See `Stream`."""
        self._wake()

    def drained(self) -> None:
        """See `Stream`."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def stop(self) -> None:
        """See `Stream`: what was asked is answered, and then no more."""
        self._is_stopping = True
        self._wake()

    def gone(self) -> None:
        """See `Stream`."""
        super().gone()
        store = self.connection.store
        while self._queue:
            message = self._queue.popleft()
            store.release(message.held_bytes)
            store.give_back(message.room_bytes)
        if self._timer is not None:
            self._timer.cancel()
        task, self._task = self._task, None  # they know each other, and what the task knows has room
        if task is not None:
            task.cancel()

    def fail(self, code: Code, text: str) -> None:
        """See `Call`."""
        self.connection.finish(self, refusal(code, text, has_begun=self._has_begun))
        self.gone()

    async def _run(self) -> None:
        try:
            await self._answered_by(self)
        except CallRefused as error:
            self.fail(error.code, error.text)
            return
        if not self._has_begun:
            self.connection.begin(self, HEAD)
        self.connection.finish(self, OK)
        self.gone()

    def _over(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # A bug of ours: the caller learns nothing of it, the log everything.
            traceback.print_exception(error, file=sys.stderr)
            self.fail(Code.INTERNAL, "the model server failed at this call")

    def _late(self) -> None:
        self.fail(Code.DEADLINE_EXCEEDED, TOO_LATE)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
