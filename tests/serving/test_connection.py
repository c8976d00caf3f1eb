"""HTTP/1.1 on real sockets: framing, order, limits and ends."""

import asyncio
import threading

import numpy as np
import pytest

from serving.engines.base import Columns
from serving.score import Scorer
from serving.signature import OutputField
from tests.serving.conftest import MAX_BODY_BYTES, StartServer
from tests.serving.models import IDENTITY, PythonModel, scalar, signature_of
from tests.serving.wire import DEADLINE_S, Wire, request

ONE = {"inputs": {"x": [1, 2]}}
TWICE = {"outputs": {"y": [2.0, 4.0]}, "model": "flowers", "version": "3", "service": "iris"}


def slow_scorer(seconds: float) -> Scorer:
    """A scorer that takes this long for each record below 1 and no time for others."""

    def predict(columns: Columns) -> Columns:
        if float(np.asarray(columns["x"], np.float64)[0]) < 1:
            threading.Event().wait(seconds)
        return {"y": columns["x"]}

    signature = signature_of((scalar("x"),), (OutputField("y", "FP64", (-1,)),))
    return Scorer(signature, PythonModel(predict), IDENTITY)


async def test_a_prediction_is_answered_and_the_connection_stays_open(wire: Wire) -> None:
    for _ in range(3):
        wire.send(request("POST", "/predict", ONE))
        reply = await wire.reply()
        assert (reply.status, reply.json) == (200, TWICE)
        assert reply.headers["content-type"] == "application/json"


async def test_a_request_may_come_byte_by_byte(wire: Wire) -> None:
    for byte in request("POST", "/predict", ONE):
        wire.send(bytes([byte]))
        await wire.writer.drain()
        await asyncio.sleep(0)
    assert (await wire.reply()).json == TWICE


async def test_a_chunked_body_with_trailers_is_read(wire: Wire) -> None:
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    wire.send(head + b'c\r\n{"inputs":{"\r\n' + b'b\r\nx":[1, 2]}}\r\n0\r\nchecksum: 1\r\n\r\n')
    assert (await wire.reply()).json == TWICE


async def test_pipelined_requests_are_answered_in_order_even_when_the_first_takes_longest(
    start_server: StartServer,
) -> None:
    wire = await (await start_server(slow_scorer(0.1), call_s=1.0))()
    bodies = [{"inputs": {"x": value}} for value in (0, 1, 2)]
    wire.send(b"".join(request("POST", "/predict", body) for body in bodies) + request("GET", "/healthz"))
    answers = [(await wire.reply()).json for _ in range(4)]
    assert [answer.get("outputs", answer) for answer in answers] == [{"y": 0}, {"y": 1}, {"y": 2}, {"live": True}]


async def test_health_is_answered_while_a_slow_prediction_runs(start_server: StartServer) -> None:
    began, may_end = threading.Event(), threading.Event()

    def predict(columns: Columns) -> Columns:
        began.set()
        assert may_end.wait(DEADLINE_S)
        return {"y": columns["x"]}

    signature = signature_of((scalar("x"),), (OutputField("y", "FP64", (-1,)),))
    connected = await start_server(Scorer(signature, PythonModel(predict), IDENTITY), call_s=1.0)
    slow, other = await connected(), await connected()
    slow.send(request("POST", "/predict", {"inputs": {"x": 0}}))
    assert await asyncio.to_thread(began.wait, DEADLINE_S)
    other.send(request("GET", "/healthz"))
    assert (await other.reply()).status == 200
    may_end.set()
    assert (await slow.reply()).status == 200


async def test_a_thousand_pipelined_requests_are_all_answered(wire: Wire) -> None:
    wire.send(request("POST", "/predict", ONE) * 1000)
    for _ in range(1000):
        assert (await wire.reply()).status == 200


async def test_an_expected_continue_is_sent_before_the_body(wire: Wire) -> None:
    whole = request("POST", "/predict", ONE, expect="100-continue")
    head, body = whole.split(b"\r\n\r\n", 1)
    wire.send(head + b"\r\n\r\n")
    assert await wire.line() == b"HTTP/1.1 100 Continue\r\n"
    assert await wire.line() == b"\r\n"
    wire.send(body)
    assert (await wire.reply()).json == TWICE


async def test_another_expectation_is_refused(wire: Wire) -> None:
    wire.send(request("POST", "/predict", ONE, expect="a miracle"))
    assert (await wire.reply()).status == 417


async def test_an_announced_body_that_is_too_large_is_refused_before_it_is_sent(wire: Wire) -> None:
    wire.send(f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode())
    reply = await wire.reply()
    assert (reply.status, reply.json["code"], reply.headers["connection"]) == (413, "too_large", "close")
    assert await wire.is_closed()


async def test_a_chunked_body_that_grows_too_large_is_refused_while_it_is_sent(wire: Wire) -> None:
    wire.send(b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    chunk = b"2710\r\n" + b" " * 10_000 + b"\r\n"
    wire.send(chunk * 20)
    assert (await wire.reply()).status == 413


async def test_a_head_without_end_is_refused(wire: Wire) -> None:
    wire.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n")
    for _ in range(600):
        wire.send(b"x-filler: " + b"a" * 1000 + b"\r\n")
        await asyncio.sleep(0)
    assert (await wire.reply()).status == 431


@pytest.mark.parametrize(
    "noise",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_not_http_is_refused_and_the_connection_closed(wire: Wire, noise: bytes) -> None:
    wire.send(noise)
    reply = await wire.reply()
    assert (reply.status, reply.json["code"]) == (400, "malformed_request")
    assert await wire.is_closed()


async def test_noise_behind_good_requests_is_refused_after_their_answers(start_server: StartServer) -> None:
    wire = await (await start_server(slow_scorer(0.05), call_s=1.0))()
    wire.send(request("POST", "/predict", {"inputs": {"x": 0}}) + b"noise\r\n\r\n")
    assert [(await wire.reply()).status for _ in range(2)] == [200, 400]


async def test_a_connection_cut_in_the_middle_of_a_request_hurts_nobody(start_server: StartServer) -> None:
    connected = await start_server(slow_scorer(0.05), call_s=1.0)
    for data in (request("POST", "/predict", ONE)[:-5], request("POST", "/predict", {"inputs": {"x": 0}})):
        wire = await connected()
        wire.send(data)
        await wire.writer.drain()
        wire.writer.transport.abort()
    wire = await connected()
    wire.send(request("GET", "/healthz"))
    assert (await wire.reply()).status == 200


async def test_a_client_that_closes_its_half_still_gets_its_answer(start_server: StartServer) -> None:
    wire = await (await start_server(slow_scorer(0.05), call_s=1.0))()
    wire.send(request("POST", "/predict", {"inputs": {"x": 0}}))
    wire.writer.write_eof()
    assert (await wire.reply()).status == 200
    assert await wire.is_closed()


async def test_head_is_answered_like_get_without_the_body(wire: Wire) -> None:
    wire.send(request("HEAD", "/readyz") + request("GET", "/readyz"))
    head, get = await wire.reply(to_head=True), await wire.reply()
    assert (head.status, head.headers["content-length"]) == (200, str(len(get.body)))


async def test_an_offer_to_upgrade_is_passed_over(wire: Wire) -> None:
    offer = request("POST", "/predict", ONE, connection="Upgrade, HTTP2-Settings", upgrade="h2c")
    wire.send(offer + request("GET", "/healthz"))
    assert (await wire.reply()).json == TWICE
    assert (await wire.reply()).json == {"live": True}


async def test_an_http_1_0_client_is_answered_and_the_connection_closed(wire: Wire) -> None:
    wire.send(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert (await wire.reply()).headers["connection"] == "close"
    assert await wire.is_closed()


async def test_a_close_is_answered_and_what_comes_after_it_is_not_read(wire: Wire) -> None:
    wire.send(request("GET", "/healthz", connection="close") + request("GET", "/healthz"))
    assert (await wire.reply()).headers["connection"] == "close"
    assert await wire.is_closed()
