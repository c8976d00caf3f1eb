"""What is run together with others is told as it is alone, in every protocol, right or wrong."""

import asyncio
import json
import threading
from typing import Any

import numpy as np
import pytest

from serving.batcher import Plan
from serving.engines.base import Columns
from serving.score import Scorer
from serving.signature import InputField, OutputField
from serving.tuning import Tuning
from tests.serving.conftest import StartServer
from tests.serving.models import IDENTITY, PythonModel, double, scalar, signature_of
from tests.serving.protocols.grpc_messages import infer_request
from tests.serving.wire import DEADLINE_S, Reply, Wire, request

SLOW_S = 0.01  # what makes a server use threads
FEATURES = 7
MANY = 400
X = {"name": "x", "datatype": "FP32", "shape": [1, 2]}
BINARY = {**X, "parameters": {"binary_data_size": 8}}
HEAD = json.dumps({"inputs": [BINARY], "parameters": {"binary_data_output": True}}).encode()
BODY = HEAD + np.array([1, 2], np.float32).tobytes()
GRPC = "/inference.GRPCInferenceService/ModelInfer"


def double_scorer(plan: Plan) -> Scorer:
    signature = signature_of((InputField("x", "FP32", (-1, 2)),), (OutputField("y", "FP32", (-1, 2)),))
    scorer = Scorer(signature, PythonModel(double), IDENTITY)
    scorer.batch(plan)
    return scorer


ASKED = (
    request("POST", "/predict", {"inputs": {"x": [1, 2]}}),
    request("POST", "/predict", {"inputs": [{"x": [1, 2]}, {"x": [3, 4]}]}),
    request("POST", "/predict", {"columns": ["x"], "data": [[[1, 2]]]}),
    request("POST", "/predict", {"tensors": {"x": [[1, 2]]}}),
    request("POST", "/predict", {"inputs": {"x": [1, "two"]}}),
    request("POST", "/predict", {"inputs": {}}),
    request("POST", "/predict", b"no JSON"),
    request("POST", "/predict", {"inputs": [{"x": [1, 2]}] * MANY}, accept_encoding="gzip"),
    request("POST", "/predict", {"inputs": [{"x": [1, 2]}] * MANY}),
    request("POST", "/predict?on_error=record", {"inputs": [{"x": [1, 2]}, {"x": None}]}),
    request("POST", "/predict", b"x\n1\n", content_type="text/csv"),
    request("POST", "/predict", {"inputs": {"x": [1, 2]}}, accept="text/csv"),
    request("POST", "/v2/models/iris/infer", {"id": "7", "inputs": [{**X, "data": [1, 2]}]}),
    request("POST", "/v2/models/iris/infer", {"inputs": [{**X, "data": [1, 2, 3]}]}),
    request("POST", "/v2/models/iris/infer", {"inputs": []}),
    request("POST", "/v2/models/iris/infer", b"x", content_type="text/csv"),
    request("POST", "/v2/models/iris/infer", BODY, inference_header_content_length=str(len(HEAD))),
    request("POST", "/v1/models/iris:predict", {"instances": [[1, 2], [3, 4]]}),
    request("POST", "/v1/models/iris:predict", {"inputs": {"x": [[1, 2]]}}),
    request("POST", "/v1/models/iris:predict", {"instances": [[1]]}),
    request("POST", "/v1/models/iris:predict", {}),
    request("POST", GRPC, infer_request(id="7").SerializeToString()),
    request("POST", GRPC, b"\xff\xff"),
)  # fmt: skip


async def replies(wire: Wire) -> list[Reply]:
    found = []
    for asked in ASKED:
        wire.send(asked)
        found.append(await wire.reply())
    return found


async def counted(wire: Wire) -> tuple[int, int, int]:
    wire.send(request("GET", "/v2/models/iris/stats"))
    (stats,) = (await wire.reply()).json["model_stats"]
    spent = stats["inference_stats"]
    return stats["inference_count"], spent["success"]["count"], spent["fail"]["count"]


async def test_each_is_told_as_without_others(start_server: StartServer) -> None:
    alone, together = [await (await start_server(double_scorer(plan), call_s=SLOW_S))() for plan in (Plan(), Plan(8))]
    for one, other in zip(await replies(alone), await replies(together), strict=True):
        heads = [{name: value for name, value in each.headers.items() if name != "date"} for each in (one, other)]
        assert (one.status, one.body, heads[0]) == (other.status, other.body, heads[1])
    assert await counted(alone) == await counted(together)


async def test_many_kinds_at_once_get_their_own_answers(start_server: StartServer) -> None:
    connect = await start_server(double_scorer(Plan(8)), call_s=SLOW_S)
    expected = [(reply.status, reply.body) for reply in await replies(await connect())]
    wires = [await connect() for _ in range(12)]
    for found in await asyncio.gather(*map(replies, wires)):
        assert [(reply.status, reply.body) for reply in found] == expected


class Threads:
    """A model of many features that may all be absent, which remembers the threads in which it was asked."""

    def __init__(self, features: int) -> None:
        self.names: list[str] = []
        self._features = features

    def scorer(self) -> Scorer:
        inputs = tuple(
            InputField(f"x{index}", "FP64", (-1,), required=False, nullable=True) for index in range(self._features)
        )
        signature = signature_of(inputs, (OutputField("y", "FP64", (-1,)),))
        scorer = Scorer(signature, PythonModel(self._predict), IDENTITY)
        scorer.batch(Plan(8))
        return scorer

    def _predict(self, columns: Columns) -> Columns:
        self.names.append(threading.current_thread().name)
        return {"y": columns["x0"]}


async def ask(wire: Wire, body: Any) -> Reply:
    wire.send(request("POST", "/predict", body))
    return await wire.reply()


async def test_what_takes_long_to_read_is_read_beside_the_loop(start_server: StartServer) -> None:
    model = Threads(FEATURES)
    wire = await (await start_server(model.scorer(), call_s=SLOW_S))()
    small = {"inputs": {"x0": 1}}
    assert (await ask(wire, small)).status == 200
    assert model.names.pop().startswith("batch_")
    for _ in range(200):  # until it is known to take long
        if (await ask(wire, {"inputs": [{}] * 8_000})).status == 200 and model.names[-1].startswith("predict_"):
            break
    assert model.names[-1].startswith("predict_")
    for _ in range(200):
        if (await ask(wire, small)).status == 200 and model.names[-1].startswith("batch_"):
            break
    assert model.names[-1].startswith("batch_")


@pytest.mark.parametrize("size", [1, 5_000])
async def test_a_full_line_is_said_before_a_body_is_read(start_server: StartServer, size: int) -> None:
    gate, began = threading.Event(), threading.Event()

    def predict(columns: Columns) -> Columns:
        began.set()
        assert gate.wait(DEADLINE_S)
        return {"y": columns["x"]}

    signature = signature_of((scalar("x"),), (OutputField("y", "FP64", (-1,)),))
    scorer = Scorer(signature, PythonModel(predict), IDENTITY)
    scorer.batch(Plan(8))
    connect = await start_server(scorer, call_s=SLOW_S, tuning=Tuning(max_queue=1))
    first, late = await connect(), await connect()
    first.send(request("POST", "/predict", {"inputs": [{"x": 1}] * size}))
    assert await asyncio.to_thread(began.wait, DEADLINE_S)
    late.send(request("POST", "/predict", b"no JSON"))
    assert (await late.reply()).status == 503
    gate.set()
    assert len((await first.reply()).json["outputs"]) == size


async def test_what_asks_about_many_inputs_in_few_bytes_is_not_read_on_the_loop(start_server: StartServer) -> None:
    model = Threads(400)
    wire = await (await start_server(model.scorer(), call_s=SLOW_S))()
    assert (await ask(wire, {"inputs": [{}] * 100})).status == 200
    assert model.names.pop().startswith("predict_")
    assert (await ask(wire, {"inputs": {"x0": 1}})).status == 200
    assert model.names.pop().startswith("batch_")
