"""A server of which more is asked than it can do refuses, waits or forgets, and never grows or hangs."""

import asyncio
import gc
import gzip
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import numpy as np
import pytest

from serving.batcher import Plan
from serving.connection import Connection
from serving.engines.base import Columns, PredictionRefused
from serving.room import Budget, Room
from serving.score import Scorer
from serving.signature import OutputField
from serving.tuning import Tuning
from tests.serving.conftest import StartServer
from tests.serving.loops import closing_unnoticed
from tests.serving.models import IDENTITY, PythonModel, double_scorer, scalar, signature_of
from tests.serving.wire import DEADLINE_S, Reply, Wire, request

SLOW_S = 0.01  # what makes the server use threads
Connect = Callable[[], Awaitable[Wire]]


class Held:
    """A model that doubles `x` once it is let, and remembers how many records it was given each time."""

    def __init__(self) -> None:
        self.gate, self.began, self.sizes = threading.Event(), threading.Semaphore(0), list[int]()
        self._scorer: Scorer | None = None

    def scorer(self, plan: Plan) -> Scorer:
        signature = signature_of((scalar("x"),), (OutputField("y", "FP64", (-1,)),))
        scorer = Scorer(signature, PythonModel(self._predict), IDENTITY)
        scorer.batch(plan)
        self._scorer = scorer
        return scorer

    async def stand_in_line(self, count: int) -> None:
        """Until so many wait for nothing but the engine, whether the loop has read them or, if it was slow, threads."""
        assert self._scorer is not None
        assert self._scorer.batcher is not None
        async with asyncio.timeout(DEADLINE_S):
            while len(self._scorer.batcher._waiting) != count:
                await asyncio.sleep(0.002)

    def _predict(self, columns: Columns) -> Columns:
        self.sizes.append(len(columns["x"]))
        self.began.release()
        assert self.gate.wait(DEADLINE_S)
        return {"y": np.asarray(columns["x"], np.float64) * 2}


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.gate.set()


def ask(value: float, **headers: str) -> bytes:
    return request("POST", "/predict", {"inputs": {"x": value}}, **headers)


def y(reply: Reply) -> float:
    assert reply.status == 200, reply.body
    value: float = reply.json["outputs"]["y"]
    return value


async def metric(wire: Wire, name: str) -> float:
    wire.send(request("GET", "/metrics"))
    lines = (await wire.reply()).body.decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


async def becomes(wire: Wire, name: str, value: float) -> None:
    """Until a metric has this value."""
    async with asyncio.timeout(DEADLINE_S):
        while await metric(wire, name) != value:
            await asyncio.sleep(0.002)


async def waiting(wire: Wire, count: int) -> None:
    await becomes(wire, "portside_model_waiting_requests", count)


async def unread(wire: Wire, count: int) -> None:
    """Until so many requests wait for room."""
    await becomes(wire, "portside_server_unread_requests", count)


async def hold(wire: Wire, size_bytes: int) -> None:
    """Until large bodies take this much room."""
    await becomes(wire, "portside_server_body_bytes", size_bytes)


async def hang_up(wire: Wire, looking: Wire) -> None:
    """Close the connection, and come back once the server, which takes one event after the other, has seen it."""
    wire.close()
    await wire.writer.wait_closed()
    for _ in range(3):
        await metric(looking, "portside_server_body_bytes")


@pytest.fixture
async def busy(start_server: StartServer, held: Held) -> AsyncIterator[tuple[Connect, Wire]]:
    """A server whose engine is held by a first request, to `connect` to, and a connection to look at it."""
    connect = await start_server(held.scorer(Plan(8)), call_s=SLOW_S, tuning=Tuning(max_queue=10))
    first = await connect()
    first.send(ask(1))
    assert await asyncio.to_thread(held.began.acquire, timeout=DEADLINE_S)
    yield connect, await connect()
    held.gate.set()
    assert y(await first.reply()) == 2


async def test_requests_of_several_connections_are_run_together(busy: tuple[Connect, Wire], held: Held) -> None:
    connect, looking = busy
    wires = [await connect() for _ in range(5)]
    for index, wire in enumerate(wires):
        wire.send(ask(index))
    await waiting(looking, 5)
    await held.stand_in_line(5)
    held.gate.set()
    assert [y(await wire.reply()) for wire in wires] == [0, 2, 4, 6, 8]
    assert held.sizes == [1, 5]


async def test_a_refused_input_never_gets_into_a_batch(busy: tuple[Connect, Wire], held: Held) -> None:
    connect, _ = busy
    wires = [await connect() for _ in range(3)]
    for wire, value in zip(wires, (1, "no number", 3), strict=True):
        wire.send(request("POST", "/predict", {"inputs": {"x": value}}))
    assert (await wires[1].reply()).status == 422
    await held.stand_in_line(2)
    held.gate.set()
    assert (y(await wires[0].reply()), y(await wires[2].reply())) == (2, 6)
    assert held.sizes == [1, 2]


async def test_a_full_line_is_said_at_once_with_a_time_to_come_again(busy: tuple[Connect, Wire], held: Held) -> None:
    connect, looking = busy
    wires = [await connect() for _ in range(9)]
    for wire in wires:
        wire.send(ask(2))
    await waiting(looking, 9)
    late = await connect()
    late.send(ask(3))
    reply = await late.reply()
    assert (reply.status, reply.json["code"], reply.headers["retry-after"]) == (503, "overloaded", "1")
    late.send(request("POST", "/v2/models/iris/infer", {"inputs": []}))
    assert (await late.reply()).status == 503
    assert await metric(looking, 'portside_model_refused_total{service="iris",part="",reason="overloaded"}') == 2
    held.gate.set()
    assert [y(await wire.reply()) for wire in wires] == [4] * 9


async def test_a_request_whose_time_is_over_is_refused_without_the_engine(
    busy: tuple[Connect, Wire], held: Held
) -> None:
    connect, _ = busy
    in_time, late = await connect(), await connect()
    in_time.send(ask(3, portside_timeout="10m"))
    await held.stand_in_line(1)
    late.send(request("GET", "/healthz") + ask(2, portside_timeout="10ms"))
    assert (await late.reply()).status == 200  # so what came with it has been read, and its time begun
    await asyncio.sleep(0.02)
    held.gate.set()
    reply = await late.reply()
    assert (reply.status, reply.json["code"]) == (504, "prediction_timeout")
    assert y(await in_time.reply()) == 6
    assert held.sizes == [1, 1]


async def test_a_request_that_comes_too_late_is_not_even_read(start_server: StartServer, held: Held) -> None:
    wire = await (await start_server(held.scorer(Plan())))()
    wire.send(request("POST", "/predict", b"nonsense", portside_timeout="0s"))
    assert (await wire.reply()).status == 504
    assert not held.sizes


async def test_who_hangs_up_in_the_line_is_not_run(busy: tuple[Connect, Wire], held: Held) -> None:
    connect, looking = busy
    gone, stays = await connect(), await connect()
    gone.send(ask(2))
    stays.send(ask(3))
    await held.stand_in_line(2)
    await hang_up(gone, looking)
    held.gate.set()
    assert y(await stays.reply()) == 6
    assert held.sizes == [1, 1]


async def test_who_hangs_up_keeps_its_place_until_it_is_counted(busy: tuple[Connect, Wire], held: Held) -> None:
    connect, looking = busy
    for count in range(1, 10):
        gone = await connect()
        gone.send(ask(2))
        await waiting(looking, count)
        await hang_up(gone, looking)
    late = await connect()
    late.send(ask(3))
    assert (await late.reply()).status == 503
    held.gate.set()
    await becomes(looking, 'portside_model_refused_total{service="iris",part="",reason="client_gone"}', 9)
    await waiting(looking, 0)
    assert held.sizes == [1]


async def test_health_is_answered_while_a_slow_model_is_busy(busy: tuple[Connect, Wire], held: Held) -> None:
    connect, looking = busy
    for _ in range(9):
        (await connect()).send(ask(2))
    await waiting(looking, 9)
    for _ in range(20):
        looking.send(request("GET", "/healthz"))
        assert (await looking.reply()).status == 200
    assert (held.sizes, held.gate.is_set()) == ([1], False)  # the engine is still at its first call


async def test_a_body_without_room_waits_unread_until_there_is_some(start_server: StartServer, held: Held) -> None:
    tuning = Tuning(max_in_flight_bytes=150_000)
    connect = await start_server(held.scorer(Plan(1)), call_s=SLOW_S, tuning=tuning)
    body = json.dumps({"inputs": {"x": 1}}).encode().ljust(90_000)
    wires = [await connect() for _ in range(3)]
    for wire in wires:
        wire.send(request("POST", "/predict", body)[:-1])
    looking = await connect()
    await unread(looking, 2)
    assert await metric(looking, "portside_server_body_bytes") == 90_000
    wires[2].close()
    held.gate.set()
    for wire in wires[:2]:
        wire.send(b" ")
    assert [y(await wire.reply()) for wire in wires[:2]] == [2, 2]
    await hold(looking, 0)


async def test_a_large_body_leaves_its_room_as_soon_as_the_engine_refused_it(start_server: StartServer) -> None:
    def refuse(columns: Columns) -> Columns:
        raise PredictionRefused("no such numbers")

    signature = signature_of((scalar("x"),), (OutputField("y", "FP64", (-1,)),))
    connect = await start_server(Scorer(signature, PythonModel(refuse), IDENTITY), call_s=SLOW_S)
    wire = await connect()
    gc.disable()
    try:
        wire.send(request("POST", "/predict", json.dumps({"inputs": {"x": 1}}).encode().ljust(90_000)))
        assert (await wire.reply()).status == 422
        await hold(wire, 0)
    finally:
        gc.enable()


async def test_a_body_of_unknown_length_is_refused_where_there_is_no_room(
    start_server: StartServer, held: Held
) -> None:
    tuning = Tuning(max_in_flight_bytes=100_000)
    connect = await start_server(held.scorer(Plan(1)), call_s=SLOW_S, tuning=tuning)
    first, second = await connect(), await connect()
    first.send(request("POST", "/predict", b" " * 90_000)[:-1])
    looking = await connect()
    await hold(looking, 90_000)
    second.send(b"POST /predict HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n")
    second.send(b"%x\r\n%b\r\n" % (80_000, b" " * 80_000))
    reply = await second.reply()
    assert (reply.status, reply.json["code"]) == (503, "overloaded")


async def test_a_body_that_drips_gives_its_room_to_those_who_wait(
    start_server: StartServer, held: Held, connections: set[Connection]
) -> None:
    connect = await start_server(held.scorer(Plan(1)), call_s=SLOW_S, tuning=Tuning(max_in_flight_bytes=100_000))
    held.gate.set()
    body, now = json.dumps({"inputs": {"x": 1}}).encode().ljust(90_000), asyncio.get_running_loop().time()
    dripping = await connect()
    dripping.send(request("GET", "/healthz"))
    assert (await dripping.reply()).status == 200
    (slow,) = connections
    dripping.send(request("POST", "/predict", body)[:-1])
    looking, waits = await connect(), await connect()
    await hold(looking, 90_000)
    waits.send(request("POST", "/predict", body)[:-1])
    await unread(looking, 1)
    for later_s, waiting_count in ((30.5, 1), (60.0, 0)):  # 89,999 bytes may take 1.4 s more than 30
        slow.seen_at = now + later_s  # as if one byte more had just come
        slow.expire(now + later_s, 30.0, 600.0)
        await unread(looking, waiting_count)
    waits.send(b" ")
    reply = await dripping.reply()
    assert (reply.status, reply.json["code"]) == (408, "request_timeout")
    assert y(await waits.reply()) == 2


async def test_who_waits_long_for_room_is_told_to_come_again(
    start_server: StartServer, connections: set[Connection]
) -> None:
    connect = await start_server(double_scorer(), tuning=Tuning(max_in_flight_bytes=100_000))
    looking, first, second = [await connect() for _ in range(3)]
    first.send(request("POST", "/predict", b" " * 90_000)[:-1])
    await hold(looking, 90_000)
    second.send(request("POST", "/predict", b" " * 90_000)[:-1])
    await unread(looking, 1)
    later = asyncio.get_running_loop().time() + 30.5
    for each in connections:
        each.seen_at = later - 1
        each.expire(later, 30.0, 600.0)
    reply = await second.reply()
    assert (reply.status, reply.json["code"], reply.headers["connection"]) == (503, "overloaded", "close")
    assert await second.is_closed()
    await unread(looking, 0)


async def test_bodies_find_no_more_room_once_they_are_inflated(start_server: StartServer, held: Held) -> None:
    connect = await start_server(held.scorer(Plan(1)), call_s=SLOW_S, tuning=Tuning(max_in_flight_bytes=100_000))
    body = gzip.compress(json.dumps({"inputs": {"x": 1}}).encode().ljust(90_000))
    first, second = await connect(), await connect()
    first.send(request("POST", "/predict", body, content_encoding="gzip"))
    assert await asyncio.to_thread(held.began.acquire, timeout=DEADLINE_S)
    second.send(request("POST", "/predict", body, content_encoding="gzip"))
    reply = await second.reply()
    assert (reply.status, reply.json["code"]) == (503, "overloaded")
    held.gate.set()
    assert y(await first.reply()) == 2
    second.send(request("POST", "/predict", body, content_encoding="gzip"))
    assert y(await second.reply()) == 2


def test_a_budget_is_given_back_and_alone_a_body_may_take_more_than_all() -> None:
    budget = Budget(100_000)
    with budget.share() as take, budget.share() as take_also:
        assert take(60_000)
        assert budget.taken_bytes == 0  # small ones are free
        assert take(60_000)
        assert not take_also(70_000)
    assert budget.taken_bytes == 0


def test_room_goes_to_who_came_first() -> None:
    room, let_in = Room(100), list[str]()
    assert room.take(60)
    assert not room.take(50)
    room.wait(50, lambda: let_in.append("large"))
    assert not room.take(10)
    room.wait(10, lambda: let_in.append("small"))
    room.give_back(60)
    assert (let_in, room.taken_bytes) == (["large", "small"], 60)


def test_a_body_larger_than_all_room_comes_in_alone() -> None:
    room, let_in = Room(100), list[str]()
    assert room.take(10)
    room.wait(500, lambda: let_in.append("huge"))
    room.give_back(10)
    assert (let_in, room.taken_bytes) == (["huge"], 500)


def test_who_leaves_the_line_makes_way() -> None:
    room, let_in = Room(100), list[str]()
    first = lambda: let_in.append("first")  # noqa: E731
    assert room.take(60)
    room.wait(90, first)
    room.wait(40, lambda: let_in.append("second"))
    room.leave(first)
    assert let_in == ["second"]


def test_a_body_that_is_left_just_when_the_loop_closes_is_not_counted_any_more() -> None:
    room, owner = Room(100), {"a body"}

    async def kept(owner: set[str]) -> None:
        assert room.take(60)
        room.keep(owner, 60)

    with closing_unnoticed() as loop:
        loop.run_until_complete(kept(owner))
        loop.close()
        del owner  # and what is wrong with that would fail here
    assert room.taken_bytes == 60
