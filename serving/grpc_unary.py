"""A call of one message and one answer, as most are: from the last byte of the message to the answer without a task."""

import asyncio
import time

from serving.grpc_call import Asked, Call, Message
from serving.grpc_head import HEAD, OK, CallRefused, refusal
from serving.http2.outgoing import PREFIX_BYTES
from serving.http2.stream import Carrier, Stream
from serving.messages import Request, Response
from serving.problems import Problem
from serving.protocols.grpc_status import Code, status_of

NOT_ONE = "the method takes exactly one message"
TOO_LATE = "the deadline of the call is over"
_SIZE = slice(1, PREFIX_BYTES)


class OneMessage(Asked):
    """What opens such calls."""

    __slots__ = ()

    def open(self, connection: Carrier, stream_id: int) -> Stream:
        """See `Opening`."""
        return Unary(connection, stream_id, self)


class Unary(Call):
    """Answers the message once the client has said that there is no other."""

    __slots__ = ("_answer", "_deadline", "_message", "_timer")

    def __init__(self, connection: Carrier, stream_id: int, asked: Asked) -> None:
        super().__init__(connection, stream_id, asked)
        timeout_s = asked.timeout_s
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._message: bytes | Message | None = None
        self._answer: asyncio.Future[Response] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def received(self, data: bytes) -> None:
        """See `Stream`."""
        # The short way, for a plain message in one frame that is all: nothing of it has to be held or counted.
        if (
            self.is_ended
            and self._message is None
            and self._buffer is None
            and len(data) >= PREFIX_BYTES
            and not data[0]
            and int.from_bytes(data[_SIZE]) == len(data) - PREFIX_BYTES <= self.asked.max_message_bytes
            and not self.connection.is_congested
        ):
            self._message, self.seen_at = data[PREFIX_BYTES:], self.connection.seen_at
        else:
            super().received(data)

    def came(self, message: Message) -> None:
        """See `Call`."""
        if self._message is not None:
            self._drop(message)
            raise CallRefused(Code.UNIMPLEMENTED, NOT_ONE)
        self._message = message

    def ended(self) -> None:
        """See `Stream`."""
        if self._message is None or self.is_in_message:
            self.fail(Code.UNIMPLEMENTED, NOT_ONE)
        else:
            self.connection.enqueue(self, is_urgent=not self.asked.is_work)

    def run(self) -> None:
        """See `Stream`."""
        asked, message = self.asked, self._message
        if isinstance(message, bytes):
            request = Request(b"POST", asked.path, asked.headers, message, self._deadline)
        else:
            assert message is not None
            self._message = None
            try:
                request = self._requested(message)
            except CallRefused as error:
                self.fail(error.code, error.text)
                return
        answer = asked.application.answer(request)
        if isinstance(answer, Response):
            self._tell(answer)
            return
        self._answer = answer
        answer.add_done_callback(self._finished)
        if self._deadline is not None:
            self._timer = self.connection.loop.call_later(max(self._deadline - time.monotonic(), 0), self._late)

    def gone(self) -> None:
        """See `Stream`: who has gone needs no answer, which then need not be begun."""
        super().gone()
        if isinstance(self._message, Message):
            self._drop(self._message)
        self._message = None
        self._leave()

    def expire(self, now: float, request_s: float) -> None:
        """See `Stream`."""
        if self._message is not None or not self.is_in_message:
            if not self.is_ended and now - self.seen_at > request_s:
                self.give_up(Problem(408, "request_timeout", "the message did not come in time"))
        else:
            super().expire(now, request_s)

    def fail(self, code: Code, text: str) -> None:
        """See `Call`."""
        self.connection.finish(self, refusal(code, text))
        self.gone()

    def _requested(self, message: Message) -> Request:
        self.used(message)
        try:
            request = self.asked.request(message, self._deadline)
        except CallRefused:
            self._drop(message)
            raise
        self.connection.store.keep(request, message.room_bytes)
        return request

    def _drop(self, message: Message) -> None:
        self.connection.store.release(message.held_bytes)
        self.connection.store.give_back(message.room_bytes)

    def _finished(self, answer: "asyncio.Future[Response]") -> None:
        if self._answer is answer and not answer.cancelled():
            self._answer = None
            self._leave()
            self._tell(answer.result())

    def _tell(self, response: Response) -> None:
        if response.status == 200:
            self.connection.answer(self, HEAD, response.body, OK)
        else:
            self.connection.finish(self, refusal(*status_of(response)))

    def _late(self) -> None:
        self._timer = None
        self.fail(Code.DEADLINE_EXCEEDED, TOO_LATE)

    def _leave(self) -> None:
        answer, timer, self._answer, self._timer = self._answer, self._timer, None, None
        if answer is not None:
            answer.cancel()
        if timer is not None:
            timer.cancel()
