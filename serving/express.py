"""The short way of Arrow streams laid out like earlier ones: a thread takes checked columns to bytes on the wire.

Such an engine runs for a millisecond or more, and what runs beside it finds the caches emptied. So as little as can be
does: the thread sends the answer itself, and the loop takes that up when it is awake anyway, which mostly is when the
client's next request comes.
"""

import asyncio
import sys
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from serving.answering import Relay, relay_of
from serving.batcher import Batcher
from serving.crew import Crew
from serving.edge import refused
from serving.messages import Request, Response, ResponseEncoder
from serving.problems import Problem
from serving.runner import insist
from serving.score import Scorer, too_much
from serving.statistics import now
from serving.tickets import Ticket

PATIENCE_S: Final = 0.02  # how long a call may keep all threads before others take the long way around it


class _Job:
    """One request on its way."""

    __slots__ = ("_begun", "_relay", "_request", "answer", "response")

    def __init__(self, request: Request, relay: Relay, begun: int) -> None:
        self._request, self._relay, self._begun = request, relay, begun
        self.response: Response | None = None
        self.answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    @property
    def is_waited_for(self) -> bool:
        """Whether its connection has more for the loop to do."""
        return self._request.outlet is not None and self._request.outlet.is_waited_for

    def do(self, scorer: Scorer, batcher: Batcher, encoder: ResponseEncoder) -> bool:
        """Ask the engine and send what it answers; whether the loop may hear of that later."""
        try:
            return self._is_answered(scorer, batcher, encoder)
        except MemoryError:
            self.response = None  # not even for a refusal: the loop makes one
        return False

    def _is_answered(self, scorer: Scorer, batcher: Batcher, encoder: ResponseEncoder) -> bool:
        """Likewise. Raises nothing but `MemoryError`: the thread is one of few, which nobody would start again."""
        ticket, relay = Ticket(self._request.deadline), self._relay
        ticket.is_gone = self.answer.cancelled()
        try:
            self.response = relay.tell(scorer, batcher.compute(relay.columns, relay.count, ticket))
            scorer.statistics.answered_whole(self._begun)
            return self._is_sent(self.response, encoder)
        except Problem as problem:
            self.response = self._failed(scorer, problem)
        except MemoryError:
            raise
        except BaseException:  # also of what ends a thread
            traceback.print_exc(file=sys.stderr)
            bug = "the model server failed at this request"
            self.response = self._failed(scorer, Problem(500, "internal_error", bug, hint="see its log"))
        return False

    def _is_sent(self, response: Response, encoder: ResponseEncoder) -> bool:
        """Send it, where this is the way; whether that is all of it."""
        outlet = self._request.outlet
        if outlet is None:
            return False
        response.left = outlet.send(encoder.encode(response, connection=outlet.connection))
        return response.left == b""

    def _failed(self, scorer: Scorer, problem: Problem) -> Response:
        scorer.statistics.failed(self._begun)
        return refused(self._request, problem)

    def end(self, scorer: Scorer) -> None:
        """Hand the answer out, unless nobody waits for it. On the loop."""
        if not self.answer.done():
            self.answer.set_result(self._failed(scorer, too_much()) if self.response is None else self.response)


class _Lane:
    """What the loop and the threads have in common."""

    def __init__(self, scorer: Scorer, batcher: Batcher) -> None:
        self.scorer, self.batcher, self.loop = scorer, batcher, asyncio.get_running_loop()
        self.line: SimpleQueue[_Job | None] = SimpleQueue()
        self.done: deque[_Job] = deque()
        self.taken_s = 0.0  # when a thread last took one


class Express:
    """Answers for one model. Lives on the loop, except for the work."""

    def __init__(self, scorer: Scorer, crew: Crew, threads: int) -> None:
        """`threads` are as many as there are processors for it: one more would only empty the caches of the others."""
        self._crew, self._most_threads, self._threads, self._count = crew, max(threads, 1), 0, 0
        self._is_open = crew.batcher.plan.max_records == 1  # else requests are run together, each in its own thread
        self._lane = _Lane(scorer, crew.batcher)
        weakref.finalize(self, self._lane.line.put, None)  # to let the threads go

    def answer(self, request: Request) -> "asyncio.Future[Response] | None":
        """Let a thread answer; `None` for what does not go this way, or had better not just now."""
        relay, begun = relay_of(self._lane.scorer, request) if self._is_open else None, now()
        if relay is None:
            return None
        if self._lane.done:
            self._settle()
        if self._crew.refusal() is not None or (self._count and self._is_held_up()) or not self._has_thread():
            return None
        job = _Job(request, relay, begun)
        if request.outlet is not None:
            request.outlet.settle = self._settle
        self._count += 1
        self._crew.count += 1
        self._lane.line.put(job)
        return job.answer

    def _is_held_up(self) -> bool:
        """Whether all threads have been at it for long: there are others for who comes now."""
        return 0 < self._threads <= self._count and time.monotonic() - self._lane.taken_s > PATIENCE_S

    def _settle(self) -> None:
        """Take up what threads have answered."""
        while self._lane.done:
            job = self._lane.done.popleft()
            self._count -= 1
            self._crew.count -= 1
            job.end(self._lane.scorer)

    def _has_thread(self) -> bool:
        if self._threads < self._most_threads:
            settle = weakref.WeakMethod(self._settle)
            try:
                # A daemon: the process ends by itself where work never does.
                threading.Thread(target=_work, args=(self._lane, settle), name="express", daemon=True).start()
            except RuntimeError:  # no memory for one more
                return self._threads > 0
            self._threads += 1
        return True


def _work(lane: _Lane, settle: "weakref.WeakMethod[Callable[[], None]]") -> None:
    """A thread: answers what is in the line until that is no more."""
    encoder = ResponseEncoder()
    while (job := lane.line.get()) is not None:
        lane.taken_s = time.monotonic()
        may_wait = job.do(lane.scorer, lane.batcher, encoder)
        lane.done.append(job)
        may_wait = may_wait and not job.is_waited_for and not lane.line.empty()
        del job  # which holds the body, also where another thread takes what is in the line
        if may_wait:
            continue
        if (at_once := settle()) is not None:
            insist(lane.loop.call_soon_threadsafe, at_once)
        del at_once
    lane.line.put(None)  # for the other threads
