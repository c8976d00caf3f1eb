"""The threads that answer one model's requests where the loop must not, and the line before them, which has an end."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from serving.batcher import Batcher
from serving.messages import Response
from serving.problems import Problem
from serving.tickets import Ticket, current

# The usual 8 MiB count against a memory limit, and a hundred threads wait at a time.
STACK_BYTES = 1024 * 1024
_MOST_THREADS = 128
_MB_PER_THREAD = 8  # of the memory that a replica may use
_FEW = 8


class Crew:
    """Answers for one model. Lives on the loop, except for the work."""

    def __init__(self, batcher: Batcher, max_queue: int, memory_mb: int | None = None) -> None:
        self.batcher, self._max_queue = batcher, max_queue
        threads = threads_for(batcher, memory_mb)
        if threads > _FEW:
            threading.stack_size(STACK_BYTES)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        self._pool.submit(threading.get_ident)  # one thread for sure, also where there is no memory for more later
        self.count = 0  # requests that have begun and are not answered

    @property
    def waiting(self) -> int:
        """Requests in line for the engine, whether a thread has taken them or not."""
        return max(self.count - self.batcher.running, 0)

    def answer(
        self, work: Callable[[], Response], refused: Callable[[Problem], Response], deadline: float | None
    ) -> "Response | asyncio.Future[Response]":
        """Let a thread do the work; `refused` tells why it is not done."""
        if self.count >= self._max_queue:
            return refused(overloaded(f"{self.count} requests wait for this model already"))
        ticket = Ticket(deadline)
        self.batcher.announce(ticket)
        try:
            work_done = asyncio.get_running_loop().run_in_executor(self._pool, self._do, ticket, work, refused)
        except RuntimeError:  # no memory for one more thread
            ticket.is_gone = True
            self.batcher.withdraw(ticket)
            return refused(overloaded("there is no room for one more request"))
        self.count += 1
        work_done.add_done_callback(self._ended)
        # Who hangs up is in line, in memory and to be counted until a thread has looked at its ticket.
        answer = asyncio.shield(work_done)

        def left(answer: "asyncio.Future[Response]") -> None:
            if answer.cancelled():
                ticket.is_gone = True
                self.batcher.withdraw(ticket)

        answer.add_done_callback(left)
        return answer

    def _ended(self, work_done: "asyncio.Future[Response]") -> None:
        self.count -= 1

    def _do(self, ticket: Ticket, work: Callable[[], Response], refused: Callable[[Problem], Response]) -> Response:
        token = current.set(ticket)
        try:
            problem = ticket.refusal()
            return work() if problem is None else refused(problem)
        finally:
            self.batcher.withdraw(ticket)
            current.reset(token)


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
