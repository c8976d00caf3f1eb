"""Leads in a batcher for requests that wait on the loop: a thread for each instance of the engine, and no more.

Whoever waits on the loop keeps the order in which it came, and a whole batch comes back in one step. With a thread for
each request, sixty of them wake one another, in any order.
"""

import asyncio
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Final

from serving.batcher import Batcher, Call
from serving.engines.base import Columns
from serving.messages import Response
from serving.problems import Problem
from serving.score import too_much
from serving.tickets import Ticket

TURN: Final = 16  # answers that are told before others get the loop
_RETRY_S: Final = 0.01


class Asked(Call):
    """A call whose `answer` is waited for on the loop."""

    __slots__ = ("answer", "is_over", "refused", "tell")

    def __init__(
        self,
        columns: Columns,
        records: int,
        deadline: float | None,
        by: "Runner",
        tell: "Callable[[Call], Response]",
        refused: Callable[[Problem], Response],
    ) -> None:
        """`tell` makes the response, once there is a `result`; `refused` does where there is no memory for that."""
        super().__init__(columns, records, Ticket(deadline), by)
        self.tell, self.refused, self.is_over = tell, refused, False
        self.answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.answer.add_done_callback(self._left)

    def _left(self, answer: "asyncio.Future[Response]") -> None:
        if answer.cancelled():
            self.ticket.is_gone = True


class Runner:
    """Takes calls on the loop, and gives them back there."""

    def __init__(self, batcher: Batcher, ended: Callable[[Asked], None]) -> None:
        """`ended` is called on the loop for each call that was answered or refused."""
        self._batcher, self._ended = batcher, ended
        self._loop = asyncio.get_running_loop()
        self._turns: SimpleQueue[Call | None] = SimpleQueue()
        self._telling = 0  # batches whose answers are not all told
        weakref.finalize(self, self._turns.put, None)  # to let the threads go
        for number in range(batcher.plan.instances):
            # A daemon: the process ends by itself where work never does.
            threading.Thread(target=_work, args=(batcher, self._turns), name=f"batch_{number}", daemon=True).start()

    def lead(self, call: Call) -> None:
        """See `Leader`."""
        insist(self._turns.put, call)

    def told(self, calls: Sequence[Call]) -> None:
        """See `Leader`."""
        insist(self._loop.call_soon_threadsafe, self._come_back, calls, 0)

    def settle(self, most_s: float) -> None:
        """Wait in a thread until the loop has told the answers that there are, and has read what came by then.

        Where it shares its core with the engine, those who come last would just miss a batch, and wait for two.
        """
        with suppress(MemoryError, RuntimeError):  # the latter where the loop is closed
            settling = _Settling()
            self._loop.call_soon_threadsafe(self._look, settling)
            settling.wait(most_s)

    def _look(self, settling: "_Settling") -> None:
        """Look once in each round of the loop, for as long as answers are told and requests come."""
        room = self._batcher.room()
        if settling.is_over or room <= 0 or (not self._telling and room == settling.room):
            settling.end()
            return
        settling.room = room
        self._loop.call_soon(self._look, settling)

    def _come_back(self, calls: Sequence[Call], start: int) -> None:
        done = start
        self._telling += not start
        try:
            for call in calls[start : start + TURN]:
                done += 1
                if isinstance(call, Asked) and not call.is_over:
                    call.is_over = True
                    self._ended(call)
        finally:  # what is wrong with one is no fault of those behind it
            if done < len(calls):
                self._loop.call_soon(self._come_back, calls, done)
            else:
                self._telling -= 1


def insist(act: Callable[..., object], *arguments: object) -> None:
    """Do it as soon as there is memory for it: others will free theirs, and nobody may wait for ever.

    Where a loop is asked that is closed, perhaps just now, nobody waits any more.
    """
    while True:
        try:
            act(*arguments)
        except MemoryError:
            time.sleep(_RETRY_S)
        except RuntimeError:  # of the loop that is closed
            return
        else:
            return


class _Settling:
    """A wait for the loop to come to rest."""

    __slots__ = ("_ended", "is_over", "room")

    def __init__(self) -> None:
        self.room, self.is_over = -1, False  # for others when the loop looked last; whether nobody waits any more
        self._ended = threading.Lock()
        self._ended.acquire()

    def wait(self, most_s: float) -> None:
        """Wait in a thread until its `end`, so long at most."""
        self._ended.acquire(timeout=most_s)
        self.is_over = True

    def end(self) -> None:
        """Let who waits go on. Called once."""
        self._ended.release()


def _work(batcher: Batcher, turns: "SimpleQueue[Call | None]") -> None:
    """A thread: leads whenever it is the turn of somebody who waits on the loop."""
    while (call := turns.get()) is not None:
        if call.patience_s and isinstance(call.by, Runner):
            call.by.settle(call.patience_s)
        try:
            batcher.lead(call)
        except BaseException as error:  # whatever it is, nobody would start another thread
            if isinstance(error, MemoryError):
                with suppress(MemoryError):
                    call.problem = too_much()
            else:
                traceback.print_exc(file=sys.stderr)
            if call.by is not None:
                call.by.told([call])
        del call  # which holds the columns, and the runner
    turns.put(None)  # for the other threads
