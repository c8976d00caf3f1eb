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
_Turn = tuple[Call, "threading.Lock | None"]  # who leads, and what to wait for before


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
        self._turns: SimpleQueue[_Turn | None] = SimpleQueue()
        weakref.finalize(self, self._turns.put, None)  # to let the threads go
        for number in range(batcher.plan.instances):
            # A daemon: the process ends by itself where work never does.
            threading.Thread(target=_work, args=(batcher, self._turns), name=f"batch_{number}", daemon=True).start()

    def lead(self, call: Call) -> None:
        """See `Leader`."""
        insist(self._turns.put, (call, _settled(self._loop) if call.patience_s else None))

    def told(self, calls: Sequence[Call]) -> None:
        """See `Leader`."""
        insist(self._loop.call_soon_threadsafe, self._come_back, calls, 0)

    def _come_back(self, calls: Sequence[Call], start: int) -> None:
        done = start
        try:
            for call in calls[start : start + TURN]:
                done += 1
                if isinstance(call, Asked) and not call.is_over:
                    call.is_over = True
                    self._ended(call)
        finally:  # what is wrong with one is no fault of those behind it
            if done < len(calls):
                self._loop.call_soon(self._come_back, calls, done)


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


def _settled(loop: asyncio.AbstractEventLoop) -> "threading.Lock | None":
    """What can be acquired once the loop has read what has come by now.

    Where it shares its core with the engine, those who come last would just miss a batch, and wait for two.
    """
    with suppress(MemoryError, RuntimeError):  # the latter where the loop is closed
        settled = threading.Lock()
        settled.acquire()
        loop.call_soon_threadsafe(settled.release)
        return settled
    return None


def _work(batcher: Batcher, turns: "SimpleQueue[_Turn | None]") -> None:
    """A thread: leads whenever it is the turn of somebody who waits on the loop."""
    while (turn := turns.get()) is not None:
        call, settled = turn
        if settled is not None:
            settled.acquire(timeout=call.patience_s)
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
        del call, turn  # which hold the columns
    turns.put(None)  # for the other threads
