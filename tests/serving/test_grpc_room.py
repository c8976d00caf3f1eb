"""The room that large messages of gRPC share with the bodies of HTTP."""

import asyncio
import threading

import numpy as np

from serving.application import ModelServer
from serving.engines.base import Columns
from serving.grpc_room import RoomedApplication
from serving.messages import Request, Response
from serving.protocols.grpc_status import bridged
from serving.score import Scorer
from serving.signature import InputField, OutputField
from serving.tuning import Tuning
from tests.serving.models import IDENTITY, PythonModel, signature_of
from tests.serving.protocols.grpc_messages import infer_request
from tests.serving.wire import DEADLINE_S

SIGNATURE = signature_of((InputField("x", "FP32", (-1, 2)),), (OutputField("y", "FP32", (-1, 2)),))


def ask(values: int) -> Request:
    message = infer_request([1] * values).SerializeToString()
    return bridged("/inference.GRPCInferenceService/ModelInfer", message, {})


async def ended(answer: "Response | asyncio.Future[Response]") -> Response:
    return answer if isinstance(answer, Response) else await answer


async def test_a_large_message_without_room_is_refused_and_a_small_one_is_answered() -> None:
    gate = threading.Event()

    def predict(columns: Columns) -> Columns:
        assert len(columns["x"]) < 100 or gate.wait(DEADLINE_S)
        return {"y": np.asarray(columns["x"])}

    server = ModelServer(IDENTITY, None, 2, Tuning(max_in_flight_bytes=150_000))
    server.serve(Scorer(SIGNATURE, PythonModel(predict), IDENTITY), 1.0)
    application, large = RoomedApplication(server, server.room), ask(20_000)
    first = application.answer(large)
    assert server.room.taken_bytes == len(large.body)
    refused = await ended(application.answer(large))
    assert (refused.status, refused.headers["grpc-status"], refused.headers["retry-after"]) == (503, "14", "1")
    assert (await ended(application.answer(ask(2)))).status == 200
    gate.set()
    assert (await ended(first)).status == 200
    await asyncio.sleep(0)  # the callback
    assert server.room.taken_bytes == 0
    assert (await ended(application.answer(large))).status == 200
