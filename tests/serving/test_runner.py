"""Who waits on the loop stands in one line with who waits in a thread, and gets its own answer in its turn."""

import asyncio
import gc
import math
import threading
import time
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest

from serving import batcher
from serving.batcher import Batcher, Call, Plan
from serving.engines.base import Columns
from serving.messages import Response
from serving.problems import Problem
from serving.runner import TURN, Asked, Runner
from serving.statistics import Statistics
from serving.tickets import Ticket
from tests.serving.loops import closing_unnoticed
from tests.serving.unequal import Name

DEADLINE_S = 60.0
Compute = Callable[[Columns], Columns]


class Gate:
    """An engine that doubles `x` once it is let; remembers in which order it was given what."""

    def __init__(self) -> None:
        self.gate, self.began = threading.Event(), threading.Semaphore(0)
        self.given: list[list[float]] = []

    def __call__(self, columns: Columns) -> Columns:
        self.given.append(columns["x"].tolist())
        self.began.release()
        assert self.gate.wait(DEADLINE_S)
        return {"y": columns["x"] * 2}


class Line:
    """A batcher and its runner, and what was told in which order."""

    def __init__(self, compute: Compute, plan: Plan) -> None:
        self.batcher = Batcher(compute, plan, Statistics())
        self.runner = Runner(self.batcher, self._ended)
        self.told: list[float] = []

    def ask(self, value: float, deadline: float | None = None) -> Asked:
        asked = Asked({"x": np.asarray([value], np.float64)}, 1, deadline, self.runner, self._tell, _refused)
        self.batcher.enter(asked)
        return asked

    def _tell(self, call: Call) -> Response:
        try:
            return Response(200, repr(call.result()["y"].tolist()).encode())
        except Problem as problem:
            return _refused(problem)

    def _ended(self, asked: Asked) -> None:
        self.told.append(float(asked.columns["x"][0]))
        response = asked.tell(asked)
        if not asked.answer.done():
            asked.answer.set_result(response)


def _refused(problem: Problem) -> Response:
    return Response(problem.status, problem.code.encode())


async def body(asked: Asked) -> bytes:
    return (await asyncio.wait_for(asked.answer, DEADLINE_S)).body


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def engine() -> AsyncIterator[Gate]:
    gate = Gate()
    yield gate
    gate.gate.set()


async def held(engine: Gate, plan: Plan) -> tuple[Line, Asked]:
    """A line whose first call is in the engine, until that is let."""
    line = Line(engine, plan)
    first = line.ask(0)
    assert await asyncio.to_thread(engine.began.acquire, timeout=DEADLINE_S)
    return line, first


async def test_who_came_first_is_run_and_told_first(engine: Gate) -> None:
    line, first = await held(engine, Plan(8))
    behind = [line.ask(index) for index in range(1, 20)]
    engine.gate.set()
    assert [await body(asked) for asked in (first, *behind)] == [b"[%.1f]" % (2 * index) for index in range(20)]
    assert engine.given == [[0], [*range(1, 9)], [*range(9, 17)], [17, 18, 19]]
    assert line.told == [*range(20)]


async def test_who_is_being_read_when_many_were_answered_still_gets_into_the_next_batch(
    engine: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batcher, "_PATIENCE", math.inf)  # a share of what many took, which is nothing here
    line = Line(engine, Plan(9, max_delay_s=DEADLINE_S))
    for index in range(10):
        line.ask(index)
        if not index:
            assert await asyncio.to_thread(engine.began.acquire, timeout=DEADLINE_S)
    waits = line.ask(10)
    engine.gate.set()  # from here on in one turn of the loop
    deadline = time.monotonic() + DEADLINE_S
    while line.batcher.running or len(engine.given) < 2:
        assert time.monotonic() < deadline
    comes = line.ask(11)
    assert (await body(waits), await body(comes)) == (b"[20.0]", b"[22.0]")
    assert engine.given == [[0], [*range(1, 10)], [10, 11]]


async def test_who_asks_again_at_once_goes_with_all_others_where_the_engine_has_no_core_of_its_own() -> None:
    sizes: list[int] = []

    def slow(columns: Columns) -> Columns:
        sizes.append(len(columns["x"]))
        time.sleep(0.02)
        return {"y": columns["x"] * 2}

    async def client(number: int) -> None:
        for _ in range(4):
            assert await body(line.ask(number)) == b"[%.1f]" % (2 * number)

    many = 2 * TURN + 3
    line = Line(slow, Plan(many + 1, max_delay_s=DEADLINE_S, shares_cores=True))
    await asyncio.gather(*map(client, range(many)))
    assert sizes[0] <= many  # of those who came first
    assert sum(sizes) == 4 * many
    assert sizes[-3:-1] == [many, many]


async def test_who_comes_alone_after_many_waits_for_nobody() -> None:
    line = Line(lambda columns: {"y": columns["x"] * 2}, Plan(8, max_delay_s=DEADLINE_S, shares_cores=True))
    line.batcher._took_s, line.batcher._answered = 60.0, 8
    assert await body(line.ask(1)) == b"[2.0]"


async def test_nobody_waits_longer_than_until_the_batch_is_full() -> None:
    given: list[int] = []

    def engine(columns: Columns) -> Columns:
        given.append(len(columns["x"]))
        return {"y": columns["x"] * 2}

    line = Line(engine, Plan(16, max_delay_s=DEADLINE_S, shares_cores=True))
    line.batcher._took_s, line.batcher._answered = 60.0, 16
    asked: list[Asked] = []
    async with asyncio.timeout(DEADLINE_S):
        while not given:  # somebody comes in each round of the loop
            asked.append(line.ask(len(asked)))
            await asyncio.sleep(0)
    assert given[0] >= 16
    for each in asked:
        await body(each)


async def test_threads_and_the_loop_stand_in_one_line(engine: Gate) -> None:
    line, first = await held(engine, Plan(2))
    others: list[asyncio.Future[Columns]] = []
    asked: list[Asked] = []
    for index, waits_on_loop in enumerate((False, False, True, True, False, True, False), 1):
        if waits_on_loop:
            asked.append(line.ask(index))
        else:
            columns = {"x": np.asarray([float(index)])}
            others.append(asyncio.ensure_future(asyncio.to_thread(line.batcher.compute, columns, 1, Ticket())))
        await until(lambda index=index: len(line.batcher._waiting) == index)  # type: ignore[misc]  # bound now
    engine.gate.set()
    assert [await body(each) for each in (first, *asked)] == [b"[0.0]", b"[6.0]", b"[8.0]", b"[12.0]"]
    assert [(await each)["y"].tolist() for each in others] == [[2], [4], [10], [14]]
    assert engine.given == [[0], [1, 2], [3, 4], [5, 6], [7]]
    assert line.batcher.running == 0


async def test_who_has_gone_and_whose_time_is_over_is_not_run(engine: Gate) -> None:
    line, first = await held(engine, Plan(8))
    gone, late, stays = line.ask(1), line.ask(2, time.monotonic()), line.ask(3)
    gone.answer.cancel()
    await asyncio.sleep(0)
    engine.gate.set()
    assert (await body(late), await body(stays), await body(first)) == (b"prediction_timeout", b"[6.0]", b"[0.0]")
    await until(lambda: line.told == [0, 1, 2, 3])  # who has gone, too: it is counted until then
    assert engine.given == [[0], [3]]


async def test_a_bug_below_leaves_nobody_waiting() -> None:
    def fails(columns: Columns) -> Columns:
        raise ZeroDivisionError

    line = Line(fails, Plan(8))
    for _ in range(3):
        asked = [line.ask(index) for index in range(20)]
        assert {await body(each) for each in asked} == {b"internal_error"}
    assert line.batcher.running == 0


async def test_who_leads_without_memory_to_gather_a_batch_is_told_so_and_nobody_else(engine: Gate) -> None:
    line, first = await held(engine, Plan(8))
    behind = []
    for value in (1.0, 2.0, 3.0):
        asked = Asked({Name("x"): np.asarray([value])}, 1, None, line.runner, line._tell, _refused)
        line.batcher.enter(asked)
        behind.append(asked)
    engine.gate.set()
    bodies = [await body(asked) for asked in (first, *behind)]
    assert bodies == [b"[0.0]", b"memory_limit_exceeded", b"memory_limit_exceeded", b"[6.0]"]
    assert await body(line.ask(4)) == b"[8.0]"
    assert line.batcher.running == 0


async def test_a_large_batch_leaves_the_loop_to_others_in_between(engine: Gate) -> None:
    line, first = await held(engine, Plan(4 * TURN))
    behind = [line.ask(index) for index in range(1, 4 * TURN + 1)]
    told = []
    behind[0].answer.add_done_callback(lambda answer: told.append(len(line.told)))
    engine.gate.set()
    await body(behind[-1])
    assert first.answer.done()
    assert told[0] <= TURN + 1


async def test_a_bug_in_one_answer_is_no_fault_of_those_behind_it(engine: Gate) -> None:
    loop, bugs = asyncio.get_running_loop(), list[object]()
    loop.set_exception_handler(lambda loop, context: bugs.append(context["exception"]))

    def fails(call: Call) -> Response:
        raise ZeroDivisionError

    line, _ = await held(engine, Plan(8))
    bad = line.ask(1)
    bad.tell = fails
    good = line.ask(2)
    engine.gate.set()
    assert await body(good) == b"[4.0]"
    assert [type(bug) for bug in bugs] == [ZeroDivisionError]


async def test_its_threads_go_when_nobody_needs_it_any_more() -> None:
    def threads() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name.startswith("batch_")}

    before, line = threads(), Line(lambda columns: {"y": columns["x"]}, Plan(8, instances=3))
    assert await body(line.ask(1)) == b"[1.0]"
    assert len(threads() - before) == 3
    del line
    await until(lambda: gc.collect() >= 0 and not threads() - before)


def test_an_answer_that_comes_back_just_when_the_loop_closes_costs_no_thread() -> None:
    engine = Gate()

    async def asked() -> Line:
        line, _ = await held(engine, Plan(8))
        return line

    with closing_unnoticed() as loop:
        line = loop.run_until_complete(asked())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        line.batcher.enter(Call({"x": np.asarray([1.0])}, 1, Ticket(), line.runner))
        engine.gate.set()
        assert engine.began.acquire(timeout=DEADLINE_S)  # by the thread that has come back
