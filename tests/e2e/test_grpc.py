"""gRPC over a whole platform: by grpcio's own client, and by Triton's, unmodified, in an environment of its own."""

import json
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from deploy.stack.child import free_port
from serving.protocols.oip_proto import METHODS
from tests.e2e.conftest import WAIT, succeeds
from tests.e2e.environments import ROOT, make_environment, run_block, run_script
from tests.e2e.platform import RunningPlatform
from tests.e2e.wire import Wire
from tests.serving.protocols.grpc_messages import MESSAGES, message, raw_tensor, read

INFER = "/inference.GRPCInferenceService/ModelInfer"
ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.2, 2.9, 4.3, 1.3]], np.float32)
TIMEOUT_S = 30
PAGE = ROOT / "docs" / "how-to" / "use-other-clients.md"
CHECKS = (
    "has_the_same_numbers",
    "tells_of_server_and_model",
    "infers",
    "streams",
    "is_refused",
    "is_refused_for_its_token",
    "does_the_rest",
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The gRPC port of a platform with the service `iris`."""
    with pytest.MonkeyPatch.context() as patch:
        port = str(free_port())
        patch.setenv("PORTSIDE_GRPC_PORT", port)
        platform = RunningPlatform.start(tmp_path_factory.mktemp("platform"))
    try:
        wire, octets = Wire(platform.url), {"Content-Type": "application/octet-stream", **WAIT}
        content = (ROOT / "examples" / "iris.onnx").read_bytes()
        succeeds(wire, wire.ask("POST", "/api/v1/models/iris/versions", content, octets))
        succeeds(wire, wire.ask_json("POST", "/api/v1/services", {"name": "iris", "model": "iris"}, WAIT))
        yield f"127.0.0.1:{port}"
    finally:
        code, said = platform.end(signal.SIGTERM)
    assert (code, port in said) == (0, True), said


@pytest.fixture
def channel(address: str) -> Iterator[Any]:
    with closing(grpc.insecure_channel(address)) as channel:
        yield channel


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has Triton's client."""
    return make_environment(tmp_path_factory.mktemp("triton") / "environment", "triton")


def request() -> Any:
    asked = MESSAGES["ModelInferRequest"](model_name="iris", id="7")
    raw_tensor(asked, "float_input", "FP32", ROWS)
    return asked


def refusal(channel: Any, data: bytes, **how: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(INFER)(data, timeout=how.pop("timeout", TIMEOUT_S), **how)
    code: grpc.StatusCode = caught.value.code()
    return code


def test_a_prediction_is_answered_and_each_mistake_has_its_code(channel: Any) -> None:
    answer = read("ModelInferResponse", channel.unary_unary(INFER)(request().SerializeToString(), timeout=TIMEOUT_S))
    scores = np.frombuffer(answer.raw_output_contents[1], np.float32).reshape(2, 3)
    assert (answer.id, [output.name for output in answer.outputs]) == ("7", ["output_label", "output_probability"])
    assert scores.argmax(axis=1).tolist() == [0, 1]
    lying = request()
    lying.raw_input_contents[0] = b"123"
    shaped = request()
    shaped.inputs[0].shape[:] = [2, 5]
    for wrong in (lying.SerializeToString(), shaped.SerializeToString(), b"\xff", request().SerializeToString()[:-7]):
        assert refusal(channel, wrong) is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal(channel, message("ModelInferRequest", model_name="rose")) is grpc.StatusCode.NOT_FOUND
    guess = [("authorization", "Bearer pst_guess")]
    assert refusal(channel, request().SerializeToString(), metadata=guess) is grpc.StatusCode.UNAUTHENTICATED
    late = refusal(channel, request().SerializeToString(), timeout=0.00001)
    assert late is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("check", CHECKS)
def test_tritons_client(triton: Path, address: str, tmp_path: Path, check: str) -> None:
    file = tmp_path / "numbers.json"
    file.write_text(json.dumps(numbers()), "utf-8")
    run_script(triton, "triton_grpc.py", address, check, str(file))


def test_what_the_page_says_works_as_it_stands_there(triton: Path, address: str) -> None:
    assert "setosa" in run_block(triton, PAGE, "tritonclient.grpc", "127.0.0.1:8001", address)


def numbers() -> dict[str, dict[str, tuple[int, int, bool]]]:
    """The fields of our messages: number, kind, and whether there are many."""
    names = {name for method in METHODS for name in (method.request, method.response)} | set(MESSAGES.names)
    return {
        name: {field.name: (field.number, field.type, field.is_repeated) for field in MESSAGES[name].DESCRIPTOR.fields}
        for name in names
    }
