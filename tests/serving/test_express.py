"""Arrow streams laid out like earlier ones, over real connections: answered by a thread, in order, to whoever asked."""

import asyncio
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, cast

import numpy as np
import pyarrow as pa

from serving.arrow.open import read_stream
from serving.batcher import Plan
from serving.connection import Connection
from serving.crew import Crew
from serving.engines.base import Columns, PredictionRefused
from serving.express import Express
from serving.media import ARROW
from serving.messages import Request, Response
from serving.outlet import Outlet
from serving.score import Scorer
from serving.signature import InputField, OutputField
from serving.tuning import Tuning
from tests.serving.arrow.streams import stream
from tests.serving.conftest import StartServer
from tests.serving.models import IDENTITY, PythonModel, signature_of
from tests.serving.wire import Wire, request

DICE = np.random.default_rng(17)
WIDTH = 4
ROWS = 1500  # 24,000 bytes: more than what a connection takes for small
DEADLINE_S = 60.0


def scorer_of(predict: Callable[[Columns], Columns]) -> Scorer:
    inputs = (InputField("x", "FP32", (-1, WIDTH)),)
    outputs = (OutputField("y", "FP32", (-1, WIDTH)),)
    return Scorer(signature_of(inputs, outputs), PythonModel(predict), IDENTITY)


def twice(columns: Columns) -> Columns:
    return {"y": np.asarray(columns["x"]) * 2}


class Held:
    """A model that answers once it is let go, and remembers which threads asked."""

    def __init__(self) -> None:
        self.began, self.gate, self.threads = threading.Semaphore(0), threading.Semaphore(0), list[str]()

    def __call__(self, columns: Columns) -> Columns:
        self.threads.append(threading.current_thread().name)
        self.began.release()
        assert self.gate.acquire(timeout=DEADLINE_S)
        return twice(columns)

    def let(self, count: int) -> None:
        self.gate.release(count)

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.began.acquire, timeout=DEADLINE_S)


def numbers(rows: int = ROWS) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return DICE.normal(size=(rows, WIDTH)).astype(np.float32)


def asking(values: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]", **headers: str) -> bytes:
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), WIDTH)
    return request("POST", "/predict", stream(pa.table({"x": column})), content_type=ARROW, **headers)


async def is_answered(wire: Wire, values: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> bool:
    reply = await wire.reply()
    assert (reply.status, reply.headers["content-type"]) == (200, ARROW)
    table = pa.ipc.open_stream(reply.body).read_all()
    told = table["y"].combine_chunks().values.to_numpy().reshape(values.shape)
    return bool((told == values * 2).all())


async def asked(wire: Wire, values: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> bool:
    wire.send(asking(values))
    return await is_answered(wire, values)


async def test_every_answer_is_its_own_requests_also_where_many_ask_at_once(start_server: StartServer) -> None:
    threads = list[str]()

    def predict(columns: Columns) -> Columns:
        threads.append(threading.current_thread().name)
        return twice(columns)

    connected = await start_server(scorer_of(predict))

    async def ask(wire: Wire) -> None:
        for index in range(25):
            assert await asked(wire, numbers(ROWS + index % 2))

    await asyncio.gather(*[ask(await connected()) for _ in range(5)])
    assert any(name.startswith("express") for name in threads)


async def test_pipelined_streams_are_answered_in_order_with_what_else_is_asked(start_server: StartServer) -> None:
    connected = await start_server(scorer_of(twice))
    wire = await connected()
    given = [numbers() for _ in range(12)]
    assert await asked(wire, given[0])
    health = request("GET", "/healthz")
    for values in given:
        wire.send(asking(values) + health)
    for values in given:
        assert await is_answered(wire, values)
        assert (await wire.reply()).json == {"live": True}


async def test_what_comes_while_a_stream_is_answered_is_answered_after_it(start_server: StartServer) -> None:
    model = Held()
    wire = await (await start_server(scorer_of(model)))()
    values = numbers()
    model.let(1)
    assert await asked(wire, values)
    wire.send(asking(values))
    for _ in range(2):
        await model.has_begun()
    wire.send(request("GET", "/healthz"))
    model.let(1)
    assert await is_answered(wire, values)
    assert (await wire.reply()).json == {"live": True}
    assert model.threads[1].startswith("express")


async def test_an_answer_that_the_client_does_not_read_at_once_comes_whole(start_server: StartServer) -> None:
    wide = 3000

    def predict(columns: Columns) -> Columns:
        return {"y": np.repeat(np.asarray(columns["x"])[:, :1], wide, axis=1)}

    inputs, outputs = (InputField("x", "FP32", (-1, WIDTH)),), (OutputField("y", "FP32", (-1, wide)),)
    wire = await (await start_server(Scorer(signature_of(inputs, outputs), PythonModel(predict), IDENTITY)))()
    sent = [numbers() for _ in range(4)]
    for values in sent:
        wire.send(asking(values))
    for values in sent:
        table = pa.ipc.open_stream((await wire.reply()).body).read_all()
        told = table["y"].combine_chunks().values.to_numpy().reshape(ROWS, wide)
        assert (told == values[:, :1]).all()


async def test_who_hangs_up_hurts_nobody_and_leaves_nothing_behind(
    start_server: StartServer, connections: set[Connection]
) -> None:
    model = Held()
    connected = await start_server(scorer_of(model))
    first, second, third = [await connected() for _ in range(3)]
    model.let(1)
    assert await asked(first, numbers())
    await model.has_begun()
    values = numbers()
    first.send(asking(values))
    await model.has_begun()
    second.send(asking(values))  # waits behind the first
    await second.writer.drain()
    for gone in (first, second):
        gone.writer.transport.abort()
    async with asyncio.timeout(DEADLINE_S):
        while len(connections) > 1:
            await asyncio.sleep(0.001)
    model.let(3)
    assert await asked(third, values)


async def test_a_model_that_refuses_is_told_of_and_the_connection_goes_on(start_server: StartServer) -> None:
    def predict(columns: Columns) -> Columns:
        if np.asarray(columns["x"])[0, 0] < 0:
            raise PredictionRefused("less than nothing")
        if np.asarray(columns["x"])[0, 1] < 0:
            raise SystemExit("a bug")
        return twice(columns)

    wire = await (await start_server(scorer_of(predict)))()
    good = np.abs(numbers())
    refused, broken = good.copy(), good.copy()
    refused[0, 0] = broken[0, 1] = -1
    for _ in range(3):
        assert await asked(wire, good)
        wire.send(asking(refused))
        reply = await wire.reply()
        assert (reply.status, reply.json["code"]) == (422, "prediction_refused")
        wire.send(asking(broken))
        reply = await wire.reply()
        assert reply.status in (422, 500)


async def test_more_than_may_wait_are_refused(start_server: StartServer) -> None:
    model = Held()
    connected = await start_server(scorer_of(model), tuning=Tuning(max_queue=2))
    wires = [await connected() for _ in range(3)]
    model.let(1)
    values = numbers()
    assert await asked(wires[0], values)
    await model.has_begun()
    wires[0].send(asking(values))
    await model.has_begun()
    for wire in wires[1:]:
        wire.send(asking(values))
    replies = [asyncio.ensure_future(wire.reply()) for wire in wires[1:]]
    done, waiting = await asyncio.wait(replies, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
    assert [(reply.result().status, reply.result().json["code"]) for reply in done] == [(503, "overloaded")]
    model.let(3)
    assert [(await reply).status for reply in waiting] == [200]
    assert await is_answered(wires[0], values)
    assert await asked(wires[1], values)


async def test_a_stream_that_is_being_answered_is_answered_before_its_connection_ends(
    start_server: StartServer, connections: set[Connection]
) -> None:
    model = Held()
    wire = await (await start_server(scorer_of(model)))()
    values = numbers()
    model.let(1)
    assert await asked(wire, values)
    await model.has_begun()
    wire.send(asking(values))
    await model.has_begun()
    for connection in tuple(connections):
        connection.drain()
    model.let(1)
    assert await is_answered(wire, values)
    assert await wire.is_closed()


async def test_a_client_that_says_its_last_with_a_stream_is_answered(start_server: StartServer) -> None:
    wire = await (await start_server(scorer_of(twice)))()
    values = numbers()
    assert await asked(wire, values)
    wire.send(asking(values))
    wire.writer.write_eof()
    assert await is_answered(wire, values)
    assert await wire.is_closed()


class NoRoom(dict[bytes, bytes]):
    """The headers of a request whose refusal finds no memory in a thread."""

    def get(self, name: bytes, default: Any = None) -> Any:
        if name == b"x-request-id" and threading.current_thread() is not threading.main_thread():
            raise MemoryError
        return super().get(name, default)


class Taken(SimpleQueue[Any]):
    """A line as it looks where another thread takes what is in it a moment later."""

    def empty(self) -> bool:
        return False


class Sent:
    """A way out that takes all."""

    connection, is_waited_for, settle = b"", False, None

    def send(self, data: bytes) -> bytes:
        return b""


def express(predict: Callable[[Columns], Columns]) -> tuple[Express, bytes]:
    """One of a model, and a body that it takes."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(numbers().ravel()), WIDTH)
    scorer, body = scorer_of(predict), stream(pa.table({"x": column}))
    crew = Crew(scorer.batch(Plan()), 100)
    read_stream(scorer.validator, body)  # so that the next one is laid out like an earlier one
    return Express(scorer, crew, 1), body


async def answered(by: Express, asked_for: Request) -> Response:
    answer = by.answer(asked_for)
    assert answer is not None
    return await asyncio.wait_for(answer, DEADLINE_S)


async def test_a_thread_outlives_a_want_of_memory_for_a_refusal() -> None:
    def predict(columns: Columns) -> Columns:
        raise PredictionRefused("in vain")

    by, body = express(predict)
    for _ in range(2):
        response = await answered(by, Request(b"POST", b"/predict", NoRoom({b"content-type": ARROW.encode()}), body))
        assert (response.status, b"memory_limit_exceeded" in response.body) == (422, True)


async def test_a_thread_that_another_one_takes_the_next_stream_from_keeps_none() -> None:
    by, body = express(twice)
    line = by._lane.line = Taken()
    asked_for = Request(b"POST", b"/predict", {b"content-type": ARROW.encode()}, body)
    asked_for.outlet = cast(Outlet, Sent())
    answer, kept = by.answer(asked_for), weakref.ref(asked_for)
    assert answer is not None
    del asked_for
    async with asyncio.timeout(DEADLINE_S):
        while not answer.done():
            await asyncio.sleep(0.001)
            by._settle()
        while kept() is not None:
            await asyncio.sleep(0.001)
    line.put(None)
