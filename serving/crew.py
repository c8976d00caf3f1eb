"""The threads that answer one model's requests where the loop must not, and the line before them, which has an end."""

import asyncio
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue

from serving.batcher import Batcher, Call
from serving.messages import Response
from serving.problems import Problem
from serving.reading import Reading, is_soon_told
from serving.runner import Asked, Runner, insist
from serving.tickets import Ticket, current

# The usual 8 MiB count against a memory limit, and a hundred threads wait at a time.
STACK_BYTES = 1024 * 1024
_MOST_THREADS = 128
_MB_PER_THREAD = 8  # of the memory that a replica may use
_FEW = 8

Refused = Callable[[Problem], Response]


class _Job:
    """One request's work on its way through a thread. Ends on the loop.

    The executors of the standard library hand each over by two futures, locks and conditions around it: a tenth of a
    millisecond behind an engine that has just filled the processor's caches.
    """

    __slots__ = ("_batcher", "_ended", "_loop", "_refused", "_ticket", "_work", "answer")

    def __init__(
        self,
        batcher: Batcher,
        ticket: Ticket,
        work: Callable[[], Response],
        refused: Refused,
        ended: "Callable[[_Job, Response | None], None]",
        answer: "asyncio.Future[Response] | None" = None,
    ) -> None:
        """`ended` is called on the loop, with what came of it; `answer` is what waits for that already."""
        self._batcher, self._ticket, self._work, self._refused, self._ended = batcher, ticket, work, refused, ended
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Response] = self._loop.create_future() if answer is None else answer

    def do(self) -> None:
        """Do it in this thread, and let the loop know."""
        response: Response | None = None
        token = current.set(self._ticket)
        try:
            problem = self._ticket.refusal()
            response = self._work() if problem is None else self._refused(problem)
        except MemoryError:
            response = None  # not even for a refusal: the loop makes one
        except BaseException:  # also of what ends a thread: one of few, which nobody would start again
            traceback.print_exc(file=sys.stderr)
            bug = "the model server failed at this request"
            response = self._refused(Problem(500, "internal_error", bug, hint="see its log"))
        finally:
            self._batcher.withdraw(self._ticket)
            current.reset(token)
            insist(self._loop.call_soon_threadsafe, self._ended, self, response)

    def end(self, response: Response | None) -> None:
        """Hand the answer out, unless nobody waits for it."""
        if not self.answer.done():
            self.answer.set_result(self._refused(_no_room()) if response is None else response)

    def left(self, answer: "asyncio.Future[Response]") -> None:
        """Who hangs up is in line, in memory and to be counted until a thread has looked at its ticket."""
        if answer.cancelled():
            self._ticket.is_gone = True
            self._batcher.withdraw(self._ticket)


class Crew:
    """Answers for one model. Lives on the loop, except for the work."""

    def __init__(self, batcher: Batcher, max_queue: int, memory_mb: int | None = None) -> None:
        self.batcher, self._max_queue = batcher, max_queue
        self._most_threads, self._threads = threads_for(batcher, memory_mb), 0
        if self._most_threads > _FEW:
            threading.stack_size(STACK_BYTES)
        self._line: SimpleQueue[_Job | None] = SimpleQueue()
        self._start_thread()  # one for sure, also where there is no memory for more later
        weakref.finalize(self, self._line.put, None)  # to let the threads go
        self._runner = Runner(batcher, self._came_back) if batcher.plan.max_records > 1 else None
        self.count = 0  # requests that have begun and are not answered

    @property
    def waiting(self) -> int:
        """Requests in line for the engine, whether a thread has taken them or not."""
        return max(self.count - self.batcher.running, 0)

    def answer(
        self, work: Callable[[], Response], refused: Refused, deadline: float | None
    ) -> "Response | asyncio.Future[Response]":
        """Let a thread do the work; `refused` tells why it is not done."""
        if (full := self.refusal()) is not None:
            return refused(full)
        ticket = Ticket(deadline)
        job = _Job(self.batcher, ticket, work, refused, self._ended)
        job.answer.add_done_callback(job.left)
        self.batcher.announce(ticket)
        self.count += 1
        self._line.put(job)
        if self._threads < self.count and self._threads < self._most_threads:
            try:
                self._start_thread()
            except RuntimeError:  # no memory for one more
                job.answer.cancel()
                return refused(_no_room())
        return job.answer

    def refusal(self) -> Problem | None:
        """Why one more request may not wait here, if so."""
        if self.count < self._max_queue:
            return None
        return overloaded(f"{self.count} requests wait for this model already")

    def ask(
        self, reading: Reading, tell: Callable[[Call], Response], refused: Refused, deadline: float | None
    ) -> "asyncio.Future[Response]":
        """Ask the engine together with others, without a thread; `tell` makes the response of what comes of it.

        Only where requests are run together, and there is no `refusal`.
        """
        assert self._runner is not None
        asked = Asked(reading.columns, reading.records, deadline, self._runner, tell, refused)
        self.count += 1
        self.batcher.enter(asked)
        return asked.answer

    def _came_back(self, asked: Asked) -> None:
        if asked.outputs is not None and not is_soon_told(asked.outputs):
            tell = partial(asked.tell, asked)
            self._line.put(_Job(self.batcher, Ticket(), tell, asked.refused, self._ended, asked.answer))
            return
        self.count -= 1
        response = asked.tell(asked)
        if not asked.answer.done():
            asked.answer.set_result(response)

    def _ended(self, job: _Job, response: Response | None) -> None:
        self.count -= 1
        job.end(response)

    def _start_thread(self) -> None:
        # A daemon: the process ends by itself where work never does.
        threading.Thread(target=_work, args=(self._line,), name=f"predict_{self._threads}", daemon=True).start()
        self._threads += 1


def _work(line: "SimpleQueue[_Job | None]") -> None:
    """A thread: does what is in the line until that is no more."""
    while (job := line.get()) is not None:
        with suppress(MemoryError):  # not even for the refusal of a bug; the loop has been told that there is no answer
            job.do()
        del job  # which holds the body
    line.put(None)  # for the other threads


def _no_room() -> Problem:
    return overloaded("there is no room for one more request")


def threads_for(batcher: Batcher, memory_mb: int | None) -> int:
    """As many as fill the next batch while the last one is run, and some to read and write meanwhile."""
    plan = batcher.plan
    wanted = (2 * plan.max_records if plan.max_records > 1 else 1) * plan.instances + 2
    room = _MOST_THREADS if memory_mb is None else max(memory_mb // _MB_PER_THREAD, 4)
    return min(wanted, room, _MOST_THREADS)


def overloaded(detail: str) -> Problem:
    """The problem of a request for which there is no room."""
    hint = "send it again later, send fewer at once, or add replicas"
    return Problem(503, "overloaded", detail, hint=hint, headers={"retry-after": "1"})
