"""Whether a server answers what the engine answers: nobody is measured before it does."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import grpc

from benchmarks.peers.workloads import GRPC_METHOD, Ask, packed
from benchmarks.platform import Broken
from benchmarks.wire import Connection

FRAME_HEAD_BYTES = 5
GRPC_S = 10.0
BESIDE = ("shape", "parameters")  # numbers below these members are no answers
TOLERANCE = 1e-4  # PMML computes in FP64


def right_answer_bytes(ask: Ask, expected: Sequence[float] | None) -> int:
    """The size of an answer that is right; none expected: what was sent. Raises `Broken` where it is wrong."""
    answer = _over_grpc(ask) if ask.is_grpc else _over_http(ask)
    if not _is_right(ask, answer, expected):
        raise Broken(f"the answer is wrong: {answer[:200].decode(errors='replace')}")
    return len(answer) + (FRAME_HEAD_BYTES if ask.is_grpc else 0)


def numbers(document: Any) -> Iterator[float]:
    """All numbers of an answer, in their order."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name not in BESIDE:
                yield from numbers(value)
    elif isinstance(document, list):
        for one in document:
            yield from numbers(one)
    elif isinstance(document, (int, float)) and not isinstance(document, bool):
        yield document


def _is_right(ask: Ask, answer: bytes, expected: Sequence[float] | None) -> bool:
    if expected is None:  # what was sent comes back
        return answer[-1024:] == ask.body[-1024:]
    if ask.is_binary:
        return packed(expected) in answer
    found = list(numbers(json.loads(answer)))
    return len(found) == len(expected) and all(
        math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        for one, other in zip(found, expected, strict=True)
    )


def _over_http(ask: Ask) -> bytes:
    with Connection(("127.0.0.1", ask.port)) as connection:
        answer = connection.exchange(ask.http())
    if answer.status != 200:
        raise Broken(f"it is answered {answer.status}: {answer.body[:200].decode(errors='replace')}")
    return answer.body


def _over_grpc(ask: Ask) -> bytes:
    """The message of the answer; in gRPC's own client, as it must be readable for others than h2load."""
    with grpc.insecure_channel(f"127.0.0.1:{ask.port}") as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(GRPC_METHOD)
        try:
            answer: bytes = call(ask.body[FRAME_HEAD_BYTES:], timeout=GRPC_S, wait_for_ready=True)
        except grpc.RpcError as error:
            raise Broken(f"gRPC is answered {error}"[:300]) from error
    return answer
