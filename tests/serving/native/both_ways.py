"""One model behind both ways: what the compiled one answers to some bytes, and what Python's own would have."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from serving.application import ModelServer
from serving.batch_trial import plan_batches
from serving.connection import Connection
from serving.messages import ResponseEncoder
from serving.native.way import QuickWay
from serving.pace import Pace
from serving.parts.loading import load_parts
from serving.protocols.oip_rest import OipModel
from serving.score import Identity, Scorer
from serving.targets import Surface
from serving.tuning import UNTUNED

IDENTITY = Identity("iris", "flowers", "iris-model", "3")
PREDICT, INFER, KSERVE = b"/predict", b"/v2/models/iris/infer", b"/v1/models/iris:predict"
DEADLINE_S = 60
DATE = re.compile(rb"\r\ndate: [^\r]*")
MOST_BODY_BYTES = 10**6
# Of the model that tells what it is told: ONNX's types by the protocol's.
ECHOED = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
}


class Unhurried(Pace):
    """A pace that nothing slows down: these tests run beside others, which do."""

    def observe(self, seconds: float) -> None:
        """Learn nothing."""


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_reading(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return False

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class BothWays:
    """A model behind a server that is Python alone, and behind the compiled way. Only on a running loop."""

    server: ModelServer
    way: QuickWay
    scorer: Scorer

    def compiled(self, data: bytes) -> bytes | None:
        """What the compiled way answers, its date left out."""
        answer = self.way.answer(data)
        return None if answer is None else DATE.sub(b"", answer)

    async def pythons(self, data: bytes) -> bytes:
        """What a fresh connection answers without it, to something that has an answer."""
        connection, wire = Connection(self.server, ResponseEncoder(), MOST_BODY_BYTES, set(), self.server.room), Wire()
        connection.connection_made(wire)
        connection.data_received(data)
        async with asyncio.timeout(DEADLINE_S):
            while not wire.written:  # on a busy machine its pace may send it to a thread
                await asyncio.sleep(0.001)
        connection.connection_lost(None)
        return DATE.sub(b"", wire.written)

    async def compare(self, data: bytes) -> bool:
        """Hold one against the other; whether the compiled way had an answer."""
        compiled = self.compiled(data)
        if not compiled:
            return False
        expected = await self.pythons(data)
        assert compiled == expected, f"to {data!r}\n{compiled!r}\ninstead of\n{expected!r}"
        return True


def serve(model: Path, way: QuickWay, token: str | None = None) -> BothWays:
    """Load a model for both ways."""
    loaded = load_parts(model, None, IDENTITY, 1)
    plan_batches(loaded, UNTUNED, 1)
    server, scorer = ModelServer(IDENTITY, token, 1, UNTUNED, MOST_BODY_BYTES), loaded.default.scorer
    server.serve(scorer, 0.0)
    way.add(
        scorer,
        OipModel(scorer),
        Unhurried(0.0),
        {PREDICT: Surface.PREDICT, INFER: Surface.INFER, KSERVE: Surface.KSERVE},
    )
    return BothWays(server, way, scorer)


def request(body: bytes, target: bytes = PREDICT, headers: Sequence[bytes] = (b"host: x",)) -> bytes:
    """The bytes of a request whose length is right."""
    lines = (b"POST %b HTTP/1.1" % target, *headers, b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def echo_model(path: Path, datatypes: Sequence[str] = tuple(ECHOED), width: int | None = 2) -> Path:
    """A model with an input `in_x` and an output `out_x` of each datatype, vectors of this width or scalars."""
    shape: list[str | int] = ["N"] if width is None else ["N", width]
    given = [helper.make_tensor_value_info(f"in_{name}", ECHOED[name], shape) for name in datatypes]
    told = [helper.make_tensor_value_info(f"out_{name}", ECHOED[name], shape) for name in datatypes]
    nodes = [helper.make_node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in datatypes]
    graph = helper.make_graph(nodes, "echo", given, told)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def telling_model(path: Path) -> Path:
    """A model that writes the number it is given in words."""
    given = [helper.make_tensor_value_info("x", TensorProto.INT64, ["N"])]
    told = [helper.make_tensor_value_info("words", TensorProto.STRING, ["N"])]
    nodes = [helper.make_node("Cast", ["x"], ["words"], to=TensorProto.STRING)]
    model = helper.make_model(
        helper.make_graph(nodes, "words", given, told), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    path.write_bytes(model.SerializeToString())
    return path


def without_labels(source: Path, path: Path) -> Path:
    """A classifier that answers probabilities only, whose best the label is."""
    model = onnx.load(str(source))
    (zipmap,) = (node for node in model.graph.node if node.op_type == "ZipMap")
    kept = [node for node in model.graph.node if node is not zipmap and model.graph.output[0].name not in node.output]
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.extend(kept)
    model.graph.output.append(helper.make_tensor_value_info(zipmap.input[0], TensorProto.FLOAT, ["N", 3]))
    onnx.save(model, str(path))
    return path


def doubles(seed: int, count: int) -> NDArray[np.float64]:
    """Finite doubles of all sizes: any bits, and numbers with few digits."""
    chance = np.random.default_rng(seed)
    anything = chance.integers(0, 2**64, count, np.uint64, endpoint=False).view(np.float64)
    short = np.round(chance.uniform(-1000, 1000, count), 3)
    powers = 10.0 ** chance.integers(-12, 22, count)
    with np.errstate(over="ignore", invalid="ignore"):
        narrowed = anything.astype(np.float32).astype(np.float64)
    numbers = np.concatenate((anything, short, powers, short * powers, narrowed))
    finite: NDArray[np.float64] = numbers[np.isfinite(numbers)]
    return finite
