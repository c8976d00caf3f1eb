"""A head that came before is known by its bytes, and what follows is read as it was then: on real connections."""

import asyncio
import json
import random
from typing import Any

import httptools
import pytest

from serving.parser import LARGE_BYTES, Parser
from tests.serving.wire import Wire, request

DICE = random.Random(5)
ROWS = 1300  # 20 KB of JSON: heads of smaller requests are not worth it


def body_of(seed: int, rows: int = ROWS) -> bytes:
    dice = random.Random(seed)
    return json.dumps({"inputs": [{"x": [dice.randrange(10, 99), 2]} for _ in range(rows)]}).encode()


def expected(body: bytes) -> Any:
    return [{"y": [2.0 * number for number in each["x"]]} for each in json.loads(body)["inputs"]]


async def is_answered(wire: Wire, body: bytes) -> bool:
    reply = await wire.reply()
    return reply.status == 200 and reply.json["outputs"] == expected(body)


class Heard:
    """Notes what a parser tells."""

    def __init__(self) -> None:
        self.bodies, self.url, self.headers = list[bytes](), b"", dict[bytes, bytes]()
        self.looked_at = self.begun = 0  # headers, one by one, and requests
        self.in_request = False

    def on_message_begin(self) -> None:
        self.url, self.headers, self.in_request = b"", {}, True
        self.bodies.append(b"")
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.looked_at += 1
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        assert self.headers

    def on_body(self, body: bytes) -> None:
        self.bodies[-1] += body

    def on_message_complete(self) -> None:
        self.in_request = False

    def head(self) -> tuple[bytes, dict[bytes, bytes]]:
        return self.url, self.headers

    def on_head(self, method: bytes, url: bytes, headers: dict[bytes, bytes], body_bytes: int) -> None:
        assert (method, body_bytes) == (b"POST", LARGE_BYTES)
        self.on_message_begin()
        self.url, self.headers = url, headers


def is_learnt(head: bytes, *, with_body: bool = True) -> bool:
    """Whether the head of a second large request like the first is not looked at again."""
    heard = Heard()
    parser = Parser(heard)
    for body in (b"x" * LARGE_BYTES, b"y" * LARGE_BYTES):
        for piece in (head + body,) if with_body else (head, body):
            parser.feed_data(piece)
    assert [body[:1] for body in heard.bodies] == [b"x", b"y"]
    assert all(len(body) == LARGE_BYTES for body in heard.bodies)
    per_head = sum(b": " in line for line in head.split(b"\n"))
    assert heard.looked_at in (per_head, 2 * per_head)
    return heard.looked_at == per_head


LENGTH = b"content-length: %d" % LARGE_BYTES


@pytest.mark.parametrize("with_body", [True, False])
def test_a_head_that_comes_again_is_not_read_again(with_body: bool) -> None:
    assert is_learnt(b"POST /p HTTP/1.1\r\nhost: t\r\n" + LENGTH + b"\r\n\r\n", with_body=with_body)


@pytest.mark.parametrize(
    "head",
    [
        b"\r\nPOST /p HTTP/1.1\r\nhost: t\r\n" + LENGTH + b"\r\n\r\n",
        b"\r\n\r\nPOST /p HTTP/1.1\r\nhost: t\r\n" + LENGTH + b"\r\n\r\n",
        b"POST /p HTTP/1.1\r\nhost: t\r\nconnection: keep-alive\r\n" + LENGTH + b"\r\n\r\n",
        b"POST /p HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\n" + LENGTH + b"\r\n\r\n",
        b"POST /p HTTP/1.1\r\nhost: t\r\nfiller: " + b"f" * 5000 + b"\r\n" + LENGTH + b"\r\n\r\n",
    ],
)
def test_what_says_more_or_could_be_read_in_two_ways_is_read_anew(head: bytes) -> None:
    assert not is_learnt(head)


def test_small_requests_and_several_at_once_teach_nothing() -> None:
    heard = Heard()
    parser, small = Parser(heard), b"POST /p HTTP/1.1\r\nhost: t\r\ncontent-length: 2\r\n\r\nab"
    large = b"POST /p HTTP/1.1\r\nhost: t\r\n" + LENGTH + b"\r\n\r\n" + b"x" * LARGE_BYTES
    for data in (small, small, small + large, small + large):
        parser.feed_data(data)
    assert heard.looked_at == 2 * len(heard.bodies) == 12


def test_any_bytes_in_any_pieces_are_told_as_httptools_tells_them() -> None:
    requests = [
        b"POST /p HTTP/1.1\r\nhost: t\r\n" + LENGTH + b"\r\n\r\n" + b"\r\n\r\n" * (LARGE_BYTES // 4),
        b"POST /p HTTP/1.1\r\nhost: t\r\n" + LENGTH + b"\r\n\r\n" + b"z" * LARGE_BYTES,
        b"POST /p HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\nabc",
        b"POST /p HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"GET /q HTTP/1.1\r\nhost: t\r\n\r\n",
        b"\r\nGET /q HTTP/1.1\r\nhost: t\r\n\r\n",
    ]
    for _ in range(150):
        stream = b"".join(DICE.choice(requests) for _ in range(6))
        cuts = sorted(DICE.randrange(len(stream) + 1) for _ in range(DICE.randrange(12)))
        one, other = Heard(), Heard()
        parser, plain = Parser(one), httptools.HttpRequestParser(other)
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            parser.feed_data(stream[begin:end])
            plain.feed_data(stream[begin:end])
        assert (one.bodies, one.url, one.headers) == (other.bodies, other.url, other.headers)


async def test_requests_with_one_head_are_each_answered_for_their_own_body(wire: Wire) -> None:
    for seed in range(6):
        body = body_of(seed)
        wire.send(request("POST", "/predict", body))
        assert await is_answered(wire, body)


async def test_a_body_behind_a_known_head_may_come_in_any_pieces(wire: Wire) -> None:
    for seed in range(8):
        body = body_of(seed)
        whole = request("POST", "/predict", body)
        cuts = sorted(DICE.randrange(len(whole)) for _ in range(5)) if seed else []
        for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
            wire.send(whole[begin:end])
            await wire.writer.drain()
            await asyncio.sleep(0.001)
        assert await is_answered(wire, body)


async def test_what_follows_in_the_same_piece_is_answered_in_its_turn(wire: Wire) -> None:
    bodies = [body_of(seed) for seed in range(6)]
    wire.send(request("POST", "/predict", bodies[0]))
    assert await is_answered(wire, bodies[0])
    health = request("GET", "/healthz")
    for body in bodies:
        wire.send(request("POST", "/predict", body) + health)
    for body in bodies:
        assert await is_answered(wire, body)
        assert (await wire.reply()).json == {"live": True}


async def test_a_head_that_differs_is_read_anew(wire: Wire) -> None:
    body = body_of(1)
    for _ in range(2):
        wire.send(request("POST", "/predict", body))
        assert await is_answered(wire, body)
    wire.send(request("POST", "/elsewhere", body))
    assert (await wire.reply()).status == 404
    other = body_of(2, ROWS - 500)
    wire.send(request("POST", "/predict", other))
    assert await is_answered(wire, other)
    wire.send(request("POST", "/predict", body, connection="close"))
    assert await is_answered(wire, body)
    assert await wire.is_closed()


async def test_a_body_that_stops_behind_a_known_head_is_given_up_like_any(wire: Wire) -> None:
    body = body_of(3)
    whole = request("POST", "/predict", body)
    wire.send(whole)
    assert await is_answered(wire, body)
    wire.send(whole[:-10])
    wire.writer.write_eof()
    assert await wire.is_closed()
