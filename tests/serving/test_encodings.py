"""Compressed bodies both ways: what is read, what bombs cost, and when an answer is compressed."""

import gzip
import json
import random
import tracemalloc
import zlib

import pytest

from serving.encodings import SMALLEST_BYTES, decoded, encoded, inflated, preferred
from serving.messages import Request, Response
from serving.problems import Problem
from tests.serving.conftest import MAX_BODY_BYTES, StartServer
from tests.serving.wire import Wire, request

BODY = b'{"inputs": {"x": [1, 2]}}' + b" " * 100_000
ANSWER = {"outputs": {"y": [2.0, 4.0]}, "model": "flowers", "version": "3", "service": "iris"}


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # a parameter's name has its bytes, and all processes of a run want the same


def raw_deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(data) + deflater.flush()


def with_coding(body: bytes, coding: bytes) -> Request:
    return Request(b"POST", b"/predict", {b"content-encoding": coding, b"accept": b"*/*"}, body)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", packed(BODY)),
        (b"GZip", packed(BODY[:7]) + packed(b"") + packed(BODY[7:])),
        (b"x-gzip", packed(BODY)),
        (b"deflate", zlib.compress(BODY)),
        (b"deflate", raw_deflate(BODY)),
        (b"identity", BODY),
        (b"", BODY),
        (b"deflate, identity, gzip", packed(zlib.compress(BODY))),
    ],
)
def test_a_body_is_read_in_every_coding_that_clients_use(coding: bytes, body: bytes) -> None:
    assert decoded(with_coding(body, coding), len(BODY)).body == BODY


@pytest.mark.parametrize("coding", [b"br", b"gzip, br", b"zstd", b"gzip, gzip, gzip, gzip", b"\xff", b"a," * 50])
def test_another_coding_is_refused_with_those_that_are_read(coding: bytes) -> None:
    with pytest.raises(Problem) as caught:
        decoded(with_coding(BODY, coding), len(BODY))
    assert (caught.value.status, caught.value.headers) == (415, {"accept-encoding": "gzip, deflate"})


@pytest.mark.parametrize(
    ("coding", "body", "words"),
    [
        ("gzip", BODY, "incorrect header"),
        ("gzip", b"", "it ends too early"),
        ("gzip", packed(BODY)[:-1], "it ends too early"),
        ("gzip", packed(BODY)[:-8] + bytes(8), "incorrect data check"),
        ("gzip", packed(BODY) + b"tail", "incorrect header"),
        ("deflate", zlib.compress(BODY) + b"tail", "bytes behind its end"),
        ("deflate", b"\xff", "is not deflate"),
        ("gzip", packed(b"") * 5_000, "bytes behind its end"),
    ],
)
def test_a_body_that_is_not_what_it_says_is_refused(coding: str, body: bytes, words: str) -> None:
    with pytest.raises(Problem) as caught:
        inflated(body, coding, 10**6)
    assert (caught.value.status, words in caught.value.detail) == (400, True)


def test_a_bomb_is_inflated_no_further_than_the_limit() -> None:
    assert inflated(gzip.compress(bytes(10**6)), "gzip", 10**6) == bytes(10**6)
    bomb = gzip.compress(bytes(3 * 10**7), 1)
    tracemalloc.start()
    try:
        with pytest.raises(Problem, match="larger than the 1000000 bytes allowed here, once it is inflated") as caught:
            inflated(bomb, "gzip", 10**6)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (caught.value.status, peak_bytes < 3 * 10**6) == (413, True)


def test_no_bytes_do_more_than_be_refused_when_they_are_inflated() -> None:
    chance, text = random.Random(5), random.Random(5).randbytes(300) * 3
    whole = {"gzip": gzip.compress(text), "deflate": zlib.compress(text)}
    statuses = set[int]()
    for _ in range(3_000):
        coding = chance.choice(["gzip", "deflate"])
        body = bytearray(whole[coding])
        for _ in range(chance.randrange(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        try:
            inflated(bytes(body[: chance.randrange(len(body) + 1)]), coding, 1_000)
        except Problem as problem:
            statuses.add(problem.status)
    assert statuses <= {400, 413}


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (b"gzip", "gzip"),
        (b"deflate", "deflate"),
        (b"gzip, deflate, br", "gzip"),
        (b"gzip;q=0.5, deflate;q=0.8", "deflate"),
        (b"br, *;q=0.1", "gzip"),
        (b"*, gzip;q=0", "deflate"),
        (b"X-GZIP", "gzip"),
        (b"identity, gzip;q=0.5", None),
        (b"gzip;q=0", None),
        (b"gzip;q=oops", None),
        (b"gzip;q=nan", None),
        (b"br", None),
        (b"", None),
        (b"\xff," * 500, None),
    ],
)
def test_the_coding_that_a_client_likes_best_is_told(accept: bytes, coding: str | None) -> None:
    assert preferred(accept) == coding


def test_only_what_pays_is_compressed() -> None:
    text = json.dumps(list(range(5_000))).encode()
    answer = encoded(Response(200, text, headers={"a": "b"}), b"gzip")
    assert gzip.decompress(answer.body) == text
    assert answer.headers == {"a": "b", "vary": "accept-encoding", "content-encoding": "gzip"}
    assert zlib.decompress(encoded(Response(200, text), b"deflate").body) == text
    for size in (SMALLEST_BYTES, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1):
        assert gzip.decompress(encoded(Response(200, text[:size]), b"gzip").body) == text[:size]
    assert (
        encoded(Response(200, text, headers={"vary": "accept"}), b"gzip").headers["vary"] == "accept, accept-encoding"
    )
    noise = random.Random(1).randbytes(100_000)
    assert encoded(Response(200, noise), b"gzip") == Response(200, noise, headers={"vary": "accept-encoding"})
    for left in (Response(200, b"[]"), Response(400, text)):  # clients read errors as they are
        assert encoded(left, b"gzip") is left


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/predict", {"inputs": {"x": [1, 2]}}, ANSWER),
        (
            "/v2/models/iris/infer",
            {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]},
            {
                "model_name": "iris",
                "model_version": "3",
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [2, 4]}],
            },
        ),
    ],
)
async def test_every_protocol_reads_compressed_bodies(wire: Wire, path: str, body: object, expected: object) -> None:
    wire.send(request("POST", path, gzip.compress(json.dumps(body).encode()), content_encoding="gzip"))
    assert (await wire.reply()).json == expected


async def test_csv_and_answers_are_compressed_too(wire: Wire) -> None:
    rows = b"x.0,x.1\n".replace(b"x.0,x.1", b"a,b") + b"1,2\n" * 2_000
    headers = {"content_type": "text/csv", "accept_encoding": "gzip, deflate"}
    wire.send(request("POST", "/predict", zlib.compress(rows), content_encoding="deflate", **headers))
    reply = await wire.reply()
    assert (reply.status, reply.headers["content-encoding"], reply.headers["vary"]) == (200, "gzip", "accept-encoding")
    assert reply.headers["content-type"].startswith("text/csv")
    assert gzip.decompress(reply.body).count(b"\n") == 2_001


async def test_nothing_is_inflated_for_a_model_that_is_still_loading(start_server: StartServer) -> None:
    wire = await (await start_server(None))()
    for path in ("/predict", "/v2/models/iris/infer"):
        wire.send(request("POST", path, b"no gzip", content_encoding="gzip"))
        assert (await wire.reply()).status == 503


async def test_a_bomb_is_refused_over_the_wire_and_the_connection_lives(wire: Wire) -> None:
    bomb = gzip.compress(bytes(MAX_BODY_BYTES + 1))
    for path in ("/predict", "/v2/models/iris/infer"):
        wire.send(request("POST", path, bomb, content_encoding="gzip"))
        assert (await wire.reply()).status == 413
    wire.send(request("POST", "/v2/models/iris/infer", b"{}", content_encoding="br"))
    reply = await wire.reply()
    assert (reply.status, list(reply.json), reply.headers["accept-encoding"]) == (415, ["error"], "gzip, deflate")
