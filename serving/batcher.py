"""Puts requests that wait for a model together into one call of its engine, and bounds how many calls run at once.

The first in line *leads*: it takes those behind it that fit, runs them together, hands out the answers and passes the
lead on (flat combining, Hendler et al. 2010). Who waits in a thread of its own leads there; who waits on the loop has a
`Runner` that leads for it. Both stand in one line, in the order in which they came.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from serving.engines.base import Columns
from serving.problems import Problem
from serving.statistics import Statistics, now
from serving.tickets import Ticket, too_late

# A larger request gains little from company and would be copied.
_LARGE_BYTES = 1024 * 1024
_MANY = 8  # in a batch, so that others may well be coming:
_PATIENCE = 0.1  # for how much of the last call an engine with a core of its own may wait for them,
_SHARED_PATIENCE = 2.0  # and one that has none, as long as some come
Compute = Callable[[Columns], Columns]


@dataclass(frozen=True, slots=True)
class Plan:
    """How requests may be put together: `max_records` of 1 is not at all."""

    max_records: int = 1
    max_delay_s: float = 0.0
    instances: int = 1  # calls of the engine at once
    shares_cores: bool = False  # the engine takes all that there are, so that who reads requests takes them from it


class Leader(Protocol):
    """Who acts for calls that no thread waits for. Called from any thread."""

    def lead(self, call: "Call") -> None:
        """It is this call's turn: let a thread give it to `Batcher.lead`."""
        ...

    def told(self, calls: "Sequence[Call]") -> None:
        """These have been answered, those among them that are others' as well."""
        ...


class Call:
    """One request's columns on their way through the engine."""

    __slots__ = (
        "asked", "by", "columns", "key", "leads", "outputs", "patience_s", "problem", "records", "ticket", "woken",
    )  # fmt: skip

    def __init__(self, columns: Columns, records: int, ticket: Ticket, by: Leader | None = None) -> None:
        """`by` acts for it where no thread waits."""
        self.columns, self.records, self.ticket, self.by = columns, records, ticket, by
        self.key: object = ()
        self.asked, self.leads = now(), False
        self.patience_s = 0.0  # how long it may wait for those that the loop is just reading, before it leads
        self.outputs: Columns | None = None
        self.problem: Problem | None = None
        self.woken: threading.Lock | None = None  # of who stands in line

    def stand_in_line(self) -> threading.Lock:
        """What its thread waits for."""
        woken = self.woken = threading.Lock()
        woken.acquire()
        return woken

    def result(self) -> Columns:
        """The answer, once it is there. Raises `Problem`."""
        problem, self.problem = self.problem, None
        if problem is not None:
            try:
                raise problem
            finally:
                # Its traceback leads to this frame, and so to the body, which a circle would keep until a collection.
                del problem
        if self.outputs is None:  # its leader, who may have had no memory left to say so, failed
            raise Problem(500, "internal_error", "the model server failed at this request")
        return self.outputs

    def wake(self) -> None:
        """Let the thread go on, if it waits; or whoever acts for it lead."""
        if self.woken is not None:
            self.woken.release()
        elif self.leads and self.by is not None:
            self.by.lead(self)


class Batcher:
    """The one way to the engine of a model that is not answered at once. Thread-safe."""

    def __init__(self, compute: Compute, plan: Plan, statistics: Statistics) -> None:
        """`compute` asks the engine and raises nothing but `Problem`."""
        self._compute, self._statistics, self.plan = compute, statistics, plan
        self._lock = threading.Lock()
        self._arrival = threading.Condition(self._lock)
        self._waiting: deque[Call] = deque()
        self._free = plan.instances
        self._took_s, self._answered = 0.0, 0  # the last call for several, and how many the last one was for
        self.running = 0  # requests that the engine is answering
        self._coming = 0  # requests that have begun and are not here yet
        self._mixes = plan.max_records > 1
        self._is_patient = self._mixes and plan.max_delay_s > 0

    def room(self) -> int:
        """How many more records may go with one who leads now and those who wait."""
        with self._lock:
            return self.plan.max_records - 1 - sum(call.records for call in self._waiting)

    def announce(self, ticket: Ticket) -> None:
        """This request is on its way here, so that waiting for it a moment may pay. Call `withdraw` in the end."""
        if self._is_patient:
            with self._lock:
                ticket.is_coming = True
                self._coming += 1

    def withdraw(self, ticket: Ticket) -> None:
        """This request has been here, or will not come."""
        if ticket.is_coming:
            with self._lock:
                self._has_come(ticket)

    def _has_come(self, ticket: Ticket) -> None:
        if ticket.is_coming:
            ticket.is_coming = False
            self._coming -= 1
            self._arrival.notify_all()

    def compute(self, columns: Columns, records: int, ticket: Ticket) -> Columns:
        """The engine's answer to these columns, perhaps together with others'. Raises `Problem`.

        Checked columns only: what one of them may spoil, its neighbours pay for with a second call.
        """
        if not self._mixes and self._takes_turn():
            return self._at_once(columns, records, ticket)
        call = Call(columns, records, ticket)
        woken = call.stand_in_line()
        if not self._leads_at_once(call):
            woken.acquire()
        if call.leads:
            self.lead(call)
        return call.result()

    def _takes_turn(self) -> bool:
        """Whether the engine is free, and so nobody is in line; then it is this one's."""
        with self._lock:
            is_free = self._free > 0
            if is_free:
                self._free -= 1
                self.running += 1
            return is_free

    def _at_once(self, columns: Columns, records: int, ticket: Ticket) -> Columns:
        """Ask for a request that nobody waits before, and nobody goes with."""
        try:
            if ticket.refusal() is not None:
                raise self._refusal_of(ticket)
            begun = now()
            outputs = self._compute(columns)
            self._statistics.ran_alone(records, now() - begun)
            return outputs
        finally:
            self._pass_on(1)

    def _refusal_of(self, ticket: Ticket) -> Problem:
        """Not in a variable of who raises it, which its traceback would lead back to: a circle that keeps the body."""
        problem = ticket.refusal() or too_late()
        self._statistics.refused(problem.code)
        return problem

    def enter(self, call: Call) -> None:
        """Let a call that no thread waits for stand in line; who acts for it is told once it is answered."""
        if self._leads_at_once(call):
            call.wake()

    def _leads_at_once(self, call: Call) -> bool:
        """Whether the engine is free; else the call stands in line now."""
        if self._mixes:
            call.key = _key_of(call.columns)
        with self._lock:
            self._has_come(call.ticket)
            call.leads = self._free > 0  # so nobody else waits
            if call.leads:
                self._free -= 1
                self._allow_patience(call)
            else:
                self._waiting.append(call)
                if self._coming:  # who leads may wait for just this one
                    self._arrival.notify_all()
            return call.leads

    def lead(self, first: Call) -> None:
        """Answer the first in line with those that go with it, then pass the lead on."""
        batch: list[Call] = []
        try:
            batch = self._gathered(first)
            self._answer(batch)
        finally:  # whatever happened, and without asking for memory: nobody else wakes those who wait
            self._pass_on(len(batch))
            by: Leader | None = None
            for call in batch:
                call.leads = False
                call.wake()
                by = by or call.by
            if by is not None:
                by.told(batch)

    def _pass_on(self, answered: int) -> None:
        with self._lock:
            self.running -= answered
            self._answered = answered
            if not self._waiting:
                self._free += 1
                return
            first = self._waiting.popleft()
            first.leads = True
            self._allow_patience(first)
        first.wake()

    def _allow_patience(self, first: Call) -> None:
        """Let it wait where many were just answered, so that others may well be coming. The lock is held."""
        if self._is_patient and self._answered >= _MANY and len(self._waiting) + first.records < self.plan.max_records:
            briefly_s = min(self.plan.max_delay_s, self._took_s * _PATIENCE)
            # Where reading takes the core from the engine, it costs the same before the batch as beside it.
            first.patience_s = self._took_s * _SHARED_PATIENCE if self.plan.shares_cores else briefly_s

    def _gathered(self, first: Call) -> list[Call]:
        """The first, which has left the line, and those in it that fit, after a wait for those that are just coming."""
        batch, left = [first], self.plan.max_records - first.records
        with self._lock:
            if self._mixes and left > 0:
                if self.plan.max_delay_s > 0 and self._coming:
                    self._arrival.wait_for(lambda: self._is_enough(left), self.plan.max_delay_s)
                behind: list[Call] = []
                for call in self._waiting:
                    if call.key == first.key and call.records <= left:
                        batch.append(call)
                        left -= call.records
                    else:
                        behind.append(call)
                self._waiting = deque(
                    behind
                )  # the last that may fail, so that who does not stand there is in the batch
            self.running += len(batch)
        return batch

    def _is_enough(self, left: int) -> bool:
        return self._coming <= 0 or sum(call.records for call in self._waiting) >= left

    def _answer(self, batch: Sequence[Call]) -> None:
        if len(batch) == 1:
            if self._is_wanted(batch[0]):
                self._alone(batch[0])
            return
        live = [call for call in batch if self._is_wanted(call)]
        if len(live) > 1 and self._together(live):
            return
        for call in live:
            if self._is_wanted(call):  # also after the others, who may have taken long
                self._alone(call)

    def _is_wanted(self, call: Call) -> bool:
        call.problem = call.ticket.refusal()
        if call.problem is not None:
            self._statistics.refused(call.problem.code)
        return call.problem is None

    def _together(self, calls: Sequence[Call]) -> bool:
        """Answer all in one call of the engine; whether that went well. Where it did not, nobody is answered."""
        began = now()
        try:
            names = calls[0].columns
            merged = {name: np.concatenate([call.columns[name] for call in calls]) for name in names}
            before = now()
            outputs = self._compute(merged)
        except (Problem, MemoryError):
            return False  # one of them may be at fault, and must not spoil the others' answers
        after = now()
        self._took_s = (after - before) / 1e9
        records = sum(call.records for call in calls)
        if not all(column.ndim and len(column) == records for column in outputs.values()):
            self._mixes = False  # its answers do not belong to records
            return False
        start = 0
        for call in calls:
            stop = start + call.records
            call.outputs = {name: column[start:stop] for name, column in outputs.items()}
            self._statistics.ran(call.records, call.asked, before, after)
            start = stop
        self._statistics.executed(records, before - began, after - before, now() - after)
        return True

    def _alone(self, call: Call) -> None:
        begun = now()
        try:
            call.outputs = self._compute(call.columns)
        except Problem as problem:
            call.problem = problem
            return
        ended = now()
        self._statistics.ran(call.records, call.asked, begun, ended)
        self._statistics.executed(call.records, 0, ended - begun, 0)


def _key_of(columns: Columns) -> object:
    """What columns must have in common to be put together; a large request has it with no other."""
    if sum(column.nbytes for column in columns.values()) > _LARGE_BYTES:
        return object()
    return tuple((name, column.dtype, column.shape[1:]) for name, column in columns.items())
