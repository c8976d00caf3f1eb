"""The threads that answer where the loop must not: as many as are needed, each answer to its own, none left behind."""

import asyncio
import gc
import threading
import time
from collections.abc import Callable

import pytest

from serving.batcher import Batcher, Plan
from serving.crew import Crew
from serving.messages import Response
from serving.problems import Problem
from serving.statistics import Statistics
from tests.serving.loops import closing_unnoticed

DEADLINE_S = 60.0


def crew(max_queue: int = 100, instances: int = 2) -> Crew:
    return Crew(Batcher(lambda columns: columns, Plan(instances=instances), Statistics()), max_queue)


def told(problem: Problem) -> Response:
    return Response(problem.status, problem.code.encode())


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("predict_")}


async def answer(by: Crew, work: Callable[[], Response], deadline: float | None = None) -> Response:
    given = by.answer(work, told, deadline)
    return given if isinstance(given, Response) else await asyncio.wait_for(given, DEADLINE_S)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.001)


async def test_each_gets_its_own_answer_and_no_more_threads_are_started_than_there_is_work_for() -> None:
    before, by = threads(), crew(instances=30)
    for index in range(20):
        response = await answer(by, lambda index=index: Response(200, b"%d" % index))  # type: ignore[misc]  # bound now
        assert response.body == b"%d" % index
    assert len(threads() - before) == 1
    gate, began = threading.Event(), threading.Semaphore(0)

    def work() -> Response:
        began.release()
        assert gate.wait(DEADLINE_S)
        return Response(200, threading.current_thread().name.encode())

    waiting = [asyncio.ensure_future(answer(by, work)) for _ in range(5)]
    for _ in waiting:
        assert await asyncio.to_thread(began.acquire, timeout=DEADLINE_S)
    gate.set()
    assert len({response.body for response in await asyncio.gather(*waiting)}) == 5
    await until(lambda: by.count == 0)


async def test_what_has_no_memory_even_for_a_refusal_is_told_so_by_the_loop() -> None:
    def work() -> Response:
        raise MemoryError

    by = crew()
    response = await answer(by, work)
    assert (response.status, response.body) == (503, b"overloaded")
    assert (await answer(by, lambda: Response(200, b""))).status == 200


async def test_a_thread_outlives_a_bug_for_whose_refusal_there_is_no_memory() -> None:
    def work() -> Response:
        raise ZeroDivisionError

    def refused(problem: Problem) -> Response:
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError
        return told(problem)

    before, by = threads(), crew()
    answering = by.answer(work, refused, None)
    assert isinstance(answering, asyncio.Future)
    assert (await asyncio.wait_for(answering, DEADLINE_S)).body == b"overloaded"
    assert (await answer(by, lambda: Response(200, b""))).status == 200
    assert len(threads() - before) == 1


async def test_work_whose_time_is_over_is_not_done() -> None:
    response = await answer(crew(), lambda: Response(200, b"done"), time.monotonic() - 1)
    assert (response.status, response.body) == (504, b"prediction_timeout")


async def test_who_hangs_up_counts_until_a_thread_is_done_with_it() -> None:
    by, gate, began = crew(), threading.Event(), threading.Event()

    def work() -> Response:
        began.set()
        assert gate.wait(DEADLINE_S)
        return Response(200, b"")

    given = by.answer(work, told, None)
    assert isinstance(given, asyncio.Future)
    await until(began.is_set)
    given.cancel()
    await asyncio.sleep(0)
    assert by.count == 1
    gate.set()
    await until(lambda: by.count == 0)


async def test_the_threads_go_when_nobody_needs_the_crew_any_more() -> None:
    before, by = threads(), crew()
    await answer(by, lambda: Response(200, b""))
    assert threads() - before
    del by
    await until(lambda: gc.collect() >= 0 and not threads() - before)


async def test_a_model_that_raises_what_ends_a_thread_costs_an_answer_and_no_thread() -> None:
    def leaves() -> Response:
        raise SystemExit(3)

    by = crew(instances=1)
    for _ in range(5):
        response = await answer(by, leaves)
        assert (response.status, response.body) == (500, b"internal_error")
    response = await answer(by, lambda: Response(200, b"there"))
    assert (response.body, by.count) == (b"there", 0)


def test_an_answer_that_is_ready_just_when_the_loop_closes_costs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    before, gate = threads(), threading.Event()

    def work() -> Response:
        assert gate.wait(DEADLINE_S)
        return Response(200, b"")

    async def asked() -> None:
        crew(instances=1).answer(work, told, None)

    with closing_unnoticed() as loop:
        loop.run_until_complete(asked())
        (thread,) = threads() - before
        loop.close()
        gate.set()
        while thread.is_alive():
            gc.collect()
            thread.join(0.001)
    assert failed == []
