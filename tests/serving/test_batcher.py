"""Requests that wait for one model are run together, each gets its own answer, and nobody pays for another's fault."""

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

from serving.batcher import Batcher, Plan
from serving.engines.base import Columns
from serving.problems import Problem
from serving.statistics import Statistics
from serving.tickets import Ticket
from tests.serving.unequal import Name

DEADLINE_S = 60.0


class Engine:
    """Doubles `x`, once it is let; remembers how many records it was given each time."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.gate, self.began = threading.Event(), threading.Semaphore(0)
        self.sizes: list[int] = []
        if is_open:
            self.gate.set()

    def __call__(self, columns: Columns) -> Columns:
        self.sizes.append(len(columns["x"]))
        self.began.release()
        assert self.gate.wait(DEADLINE_S)
        if np.less(columns["x"], 0).any():
            raise Problem(422, "prediction_refused", "no negative numbers")
        return {"y": columns["x"] * 2}


def rows(*values: float, dtype: type[np.generic] = np.float32) -> Columns:
    return {"x": np.asarray(values, dtype)}


def waits(batcher: Batcher, count: int) -> None:
    until(lambda: len(batcher._waiting) == count)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Asking:
    """Threads that ask one batcher. The first of them holds the engine until `open`."""

    def __init__(self, plan: Plan, engine: Engine) -> None:
        self.statistics, self.engine = Statistics(), engine
        self.batcher = Batcher(engine, plan, self.statistics)
        self.pool = ThreadPoolExecutor(64)
        self.asked = 0

    def ask(self, columns: Columns, ticket: Ticket | None = None) -> Future[Columns]:
        """Ask in a thread, and come back once that waits for its turn or for the engine."""
        answer = self.pool.submit(self.batcher.compute, columns, len(columns["x"]), ticket or Ticket())
        self.asked += 1
        if self.asked == 1:
            assert self.engine.began.acquire(timeout=DEADLINE_S)
        else:
            waits(self.batcher, self.asked - 1)
        return answer


@pytest.fixture
def asking() -> Iterator[Asking]:
    asking = Asking(Plan(max_records=8, max_delay_s=0.0), Engine(is_open=False))
    yield asking
    asking.engine.gate.set()
    asking.pool.shutdown()


def y(answer: Future[Columns]) -> list[float]:
    values: list[float] = answer.result(DEADLINE_S)["y"].tolist()
    return values


def test_who_waits_is_run_together_and_gets_its_own_answer(asking: Asking) -> None:
    answers = [asking.ask(rows(*range(index + 1))) for index in range(4)]
    asking.engine.gate.set()
    assert [y(answer) for answer in answers] == [[0], [0, 2], [0, 2, 4], [0, 2, 4, 6]]
    assert asking.engine.sizes == [1, 5, 4]


def test_no_batch_is_larger_than_allowed(asking: Asking) -> None:
    answers = [asking.ask(rows(index)) for index in range(20)]
    asking.engine.gate.set()
    assert [y(answer) for answer in answers] == [[2 * index] for index in range(20)]
    assert asking.engine.sizes == [1, 8, 8, 3]


def test_a_request_larger_than_a_batch_runs_alone(asking: Asking) -> None:
    answers = [asking.ask(rows(*range(size))) for size in (1, 1, 50, 1)]
    asking.engine.gate.set()
    assert [len(y(answer)) for answer in answers] == [1, 1, 50, 1]
    assert asking.engine.sizes == [1, 2, 50]


def test_other_datatypes_are_not_run_together(asking: Asking) -> None:
    answers = [asking.ask(rows(1, dtype=dtype)) for dtype in (np.float32, np.float32, np.float64, np.float32)]
    asking.engine.gate.set()
    assert [y(answer) for answer in answers] == [[2]] * 4
    assert asking.engine.sizes == [1, 2, 1]
    assert answers[2].result()["y"].dtype == np.float64


def test_a_bad_neighbour_spoils_nobodys_answer(asking: Asking) -> None:
    answers = [asking.ask(rows(value)) for value in (1, 2, -3, 4)]
    asking.engine.gate.set()
    assert [y(answers[index]) for index in (0, 1, 3)] == [[2], [4], [8]]
    with pytest.raises(Problem, match="no negative numbers"):
        answers[2].result(DEADLINE_S)
    assert asking.engine.sizes == [1, 3, 1, 1, 1]


def test_answers_that_do_not_belong_to_records_are_asked_for_one_by_one() -> None:
    engine = Engine(is_open=False)
    asking = Asking(Plan(max_records=8), engine)
    asking.batcher = Batcher(lambda columns: {"y": engine(columns)["y"].sum(keepdims=True)}, Plan(8), Statistics())
    answers = [asking.ask(rows(value)) for value in (1, 2, 3)]
    engine.gate.set()
    assert [y(answer) for answer in answers] == [[2], [4], [6]]
    assert asking.batcher.compute(rows(5), 1, Ticket())["y"].tolist() == [10]


def test_who_has_gone_and_whose_time_is_over_never_reaches_the_engine(asking: Asking) -> None:
    gone, late = Ticket(), Ticket(deadline=time.monotonic())
    answers = [asking.ask(rows(1)), asking.ask(rows(2), gone), asking.ask(rows(3), late), asking.ask(rows(4))]
    gone.is_gone = True
    asking.engine.gate.set()
    assert [y(answers[index]) for index in (0, 3)] == [[2], [8]]
    for index, code in ((1, "client_gone"), (2, "prediction_timeout")):
        with pytest.raises(Problem) as caught:
            answers[index].result(DEADLINE_S)
        assert caught.value.code == code
    assert asking.engine.sizes == [1, 1]


def test_a_lonely_request_does_not_wait_for_others() -> None:
    batcher = Batcher(Engine(), Plan(8, max_delay_s=2 * DEADLINE_S), Statistics())
    assert batcher.compute(rows(1), 1, Ticket())["y"].tolist() == [2]


def test_a_request_waits_for_one_that_is_coming() -> None:
    asking = Asking(Plan(8, max_delay_s=DEADLINE_S), Engine())
    coming = Ticket()
    asking.batcher.announce(coming)
    first = asking.pool.submit(asking.batcher.compute, rows(1), 1, Ticket())
    second = asking.pool.submit(asking.batcher.compute, rows(2), 1, coming)
    assert (y(first), y(second)) == ([2], [4])
    assert asking.engine.sizes in ([2], [1, 1])  # the second may have been there first


def test_a_request_does_not_wait_for_one_that_will_not_come() -> None:
    asking = Asking(Plan(8, max_delay_s=2 * DEADLINE_S), Engine())
    coming = Ticket()
    asking.batcher.announce(coming)
    first = asking.pool.submit(asking.batcher.compute, rows(1), 1, Ticket())
    asking.batcher.withdraw(coming)
    asking.batcher.withdraw(coming)
    assert y(first) == [2]
    assert asking.batcher.compute(rows(1), 1, Ticket())["y"].tolist() == [2]


def test_no_more_calls_run_at_once_than_there_are_instances() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def compute(columns: Columns) -> Columns:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.001)
        with lock:
            running -= 1
        return {"y": columns["x"]}

    batcher = Batcher(compute, Plan(4, instances=2), Statistics())
    with ThreadPoolExecutor(32) as pool:
        answers = [pool.submit(batcher.compute, rows(index), 1, Ticket()) for index in range(400)]
        assert [y(answer) for answer in answers] == [[index] for index in range(400)]
    assert most <= 2
    assert batcher.running == 0


def test_a_bug_below_leaves_nobody_waiting() -> None:
    def compute(columns: Columns) -> Columns:
        raise ZeroDivisionError

    batcher = Batcher(compute, Plan(8), Statistics())
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(batcher.compute, rows(index), 1, Ticket()) for index in range(50)]
        for answer in answers:
            with pytest.raises((Problem, ZeroDivisionError)):
                answer.result(DEADLINE_S)


def test_a_leader_without_memory_to_gather_a_batch_leaves_nobody_waiting(asking: Asking) -> None:
    def named(value: float) -> Columns:
        return {Name("x"): rows(value)["x"]}

    answers = [asking.ask(columns) for columns in (rows(1), named(2), named(3), named(4))]
    asking.engine.gate.set()
    assert y(answers[0]) == [2]
    for answer in answers[1:3]:  # each in turn leads, with somebody behind it
        with pytest.raises(MemoryError):
            answer.result(DEADLINE_S)
    assert y(answers[3]) == [8]
    assert y(asking.pool.submit(asking.batcher.compute, rows(5), 1, Ticket())) == [10]
    assert asking.batcher.running == 0


@pytest.mark.parametrize(("value", "is_late"), [(1, True), (-3, False)])
def test_who_is_refused_leaves_nothing_for_the_garbage_collector(value: float, *, is_late: bool) -> None:
    batcher, columns = Batcher(Engine(), Plan(8), Statistics()), rows(value)
    body = weakref.ref(columns["x"])
    gc.disable()
    try:
        with suppress(Problem):
            batcher.compute(columns, 1, Ticket(time.monotonic() if is_late else None))
            pytest.fail("it was answered")
        del columns
        assert body() is None
    finally:
        gc.enable()


def test_a_batch_is_counted_as_one_execution_and_its_requests_each(asking: Asking) -> None:
    answers = [asking.ask(rows(index)) for index in range(5)]
    asking.engine.gate.set()
    for answer in answers:
        answer.result(DEADLINE_S)
    entry = asking.statistics.entry("iris", "1")
    assert (entry["inference_count"], entry["execution_count"]) == (5, 2)


@pytest.mark.parametrize("why", ["gone", "late"])
def test_who_is_too_late_or_gone_never_reaches_a_free_engine_and_keeps_nothing(why: str) -> None:
    engine, statistics = Engine(), Statistics()
    batcher = Batcher(engine, Plan(), statistics)
    ticket = Ticket(deadline=time.monotonic() if why == "late" else None)
    ticket.is_gone = why == "gone"
    columns = rows(1.0)
    kept = weakref.ref(columns["x"])
    gc.disable()
    try:
        with pytest.raises(Problem, match="its time was over" if why == "late" else "closed its connection"):
            batcher.compute(columns, 1, ticket)
        del columns
        assert kept() is None  # nor does the traceback lead back to it in a circle
    finally:
        gc.enable()
    assert engine.sizes == []
    assert batcher.running == 0
    assert batcher.compute(rows(2.0), 1, Ticket())["y"].tolist() == [4.0]
    assert engine.sizes == [1]
