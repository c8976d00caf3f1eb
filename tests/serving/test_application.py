"""The routes: what exists, what is refused, and in which words."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.application import ModelServer
from serving.engines.base import Columns, PredictionRefused
from serving.messages import Response
from serving.protocols.grpc_status import bridged
from serving.score import Scorer
from serving.signature import OutputField
from tests.serving.conftest import StartServer
from tests.serving.models import IDENTITY, Predict, PythonModel, double_scorer, scalar, signature_of
from tests.serving.wire import Wire, request

ONE = {"inputs": {"x": [1, 2]}}


READABLE = (
    "/healthz /readyz /v2 /v2/health/live /v2/health/ready /v2/models/iris /v2/models/iris/ready "
    "/v2/models/iris/versions/3 /v2/models/iris/versions/3/ready /readyz?verbose=1 http://test/readyz "
    "/v2/models/%69ris"
)


@pytest.mark.parametrize("path", READABLE.split())
async def test_what_can_be_read_is_read(wire: Wire, path: str) -> None:
    wire.send(request("GET", path))
    assert (await wire.reply()).status == 200


async def test_ready_says_what_clients_look_for(wire: Wire) -> None:
    wire.send(request("GET", "/v2/health/live") + request("GET", "/readyz") + request("GET", "/v2/models/iris/ready"))
    bodies = [(await wire.reply()).json for _ in range(3)]
    assert bodies == [{"live": True}, {"ready": True}, {"name": "iris", "ready": True}]


@pytest.mark.parametrize("path", ["/predict", "/api/v1/services/iris/predict", "/predict?"])
async def test_predictions_are_answered_at_both_paths(wire: Wire, path: str) -> None:
    wire.send(request("POST", path, ONE))
    assert (await wire.reply()).status == 200


async def test_curls_default_content_type_is_read_as_json(wire: Wire) -> None:
    wire.send(request("POST", "/predict", ONE, content_type="application/x-www-form-urlencoded"))
    assert (await wire.reply()).status == 200


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/predict", {"content_type": "image/png"}),
        ("/predict", {"content_encoding": "br"}),
        ("/predict", {"content_type": "text/csv", "content_encoding": "zstd"}),
        ("/v2/models/iris/infer", {"content_type": "text/csv"}),
        ("/v2/models/iris/infer", {"content_type": "multipart/form-data"}),
    ],
)
async def test_a_body_that_is_not_read_here_is_refused_as_such(wire: Wire, path: str, headers: dict[str, str]) -> None:
    wire.send(request("POST", path, ONE, **headers))
    assert (await wire.reply()).status == 415


async def test_csv_is_read_and_answered_at_the_predict_path(wire: Wire) -> None:
    wire.send(request("POST", "/predict", b"a,b\n1,2\n", content_type="text/csv"))
    reply = await wire.reply()
    assert (reply.status, reply.headers["content-type"]) == (200, "text/csv; charset=utf-8; header=present")
    assert reply.body == b'y\r\n"[2.0,4.0]"\r\n'


async def test_a_web_pages_form_is_answered_in_json(wire: Wire) -> None:
    wire.send(request("POST", "/predict", b"x=%5B1%2C2%5D", content_type="application/x-www-form-urlencoded"))
    assert (await wire.reply()).json["outputs"] == {"y": [2, 4]}


async def test_workers_can_ask_what_rows_mean(wire: Wire) -> None:
    wire.send(request("POST", "/read", b"a,b\n1,wide\n", content_type="text/csv"))
    assert (await wire.reply()).json == {"columns": ["a", "b"], "data": [[1, "wide"]]}
    wire.send(request("POST", "/read", b"a,b,c\n1,2,3\n", content_type="text/csv"))
    assert (await wire.reply()).status == 422


async def test_json_is_answered_with_csv_where_that_is_accepted(wire: Wire) -> None:
    wire.send(request("POST", "/predict", {"inputs": [{"x": [1, 2]}]}, accept="text/csv"))
    assert (await wire.reply()).headers["content-type"].startswith("text/csv")


async def test_the_other_records_are_answered_where_that_is_asked(wire: Wire) -> None:
    wire.send(request("POST", "/predict?on_error=record", {"inputs": [{"x": [1, 2]}, {"x": "?"}]}))
    reply = await wire.reply()
    assert reply.json["outputs"] == [{"y": [2, 4]}, None]
    assert [error["index"] for error in reply.json["errors"]] == [1]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("on_error=ignore", "/on_error"),
        ("on_error=record&on_error=fail", "/on_error"),
        ("explain=true", "/explain"),
        ("on_error=%C3%9F", "/on_error"),
        ("%C3%9F=1", "/ß"),
        ("on_error=%FF", "/on_error"),
    ],
)
async def test_a_query_parameter_is_refused_by_its_name_and_not_ignored(wire: Wire, query: str, pointer: str) -> None:
    wire.send(request("POST", f"/predict?{query}", ONE))
    reply = await wire.reply()
    assert (reply.status, reply.json["errors"][0]["pointer"]) == (422, pointer)


async def test_an_unknown_path_is_a_problem(wire: Wire) -> None:
    wire.send(request("GET", "/nothing"))
    reply = await wire.reply()
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json == {
        "type": "urn:portside:problem:not_found",
        "title": "Not found",
        "status": 404,
        "detail": "there is nothing at /nothing",
        "code": "not_found",
        "hint": "predictions go to POST /predict or /v2/models/iris/infer",
        "instance": "/nothing",
    }


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", "/predict", "POST"), ("DELETE", "/readyz", "GET, HEAD"), ("OPTIONS", "/predict", "POST"),
     ("PUT", "/v2/models/iris/infer", "POST")],
)  # fmt: skip
async def test_a_wrong_method_is_told_the_right_ones(wire: Wire, method: str, path: str, allow: str) -> None:
    wire.send(request(method, path))
    reply = await wire.reply()
    assert (reply.status, reply.headers["allow"].upper()) == (405, allow)


async def test_an_unknown_model_is_refused_in_the_protocols_words(wire: Wire) -> None:
    wire.send(request("GET", "/v2/models/rose") + request("POST", "/v2/models/iris/versions/4/infer", {}))
    replies = [await wire.reply() for _ in range(2)]
    assert [(reply.status, reply.json) for reply in replies] == [
        (404, {"error": "Request for unknown model: 'rose' is not found"}),
        (404, {"error": "Request for unknown model: 'iris' version 4 is not found"}),
    ]


async def test_a_server_that_still_loads_lives_but_is_not_ready(start_server: StartServer) -> None:
    wire = await (await start_server())()
    wire.send(request("GET", "/healthz") + request("GET", "/readyz") + request("POST", "/predict", ONE))
    wire.send(request("POST", "/v2/models/iris/infer", {}) + request("GET", "/v2/models/iris/ready"))
    replies = [await wire.reply() for _ in range(5)]
    assert [reply.status for reply in replies] == [200, 503, 503, 503, 503]
    assert (replies[2].json["code"], replies[2].headers["retry-after"]) == ("model_loading", "1")
    assert replies[1].json == {"ready": False}


async def test_a_token_is_needed_for_all_but_health(start_server: StartServer) -> None:
    wire = await (await start_server(double_scorer(), token="secret"))()
    wire.send(request("GET", "/healthz") + request("GET", "/readyz") + request("POST", "/predict", ONE))
    wire.send(request("POST", "/predict", ONE, authorization="Bearer wrong"))
    wire.send(request("POST", "/predict", ONE, authorization="Bearer secret"))
    assert [(await wire.reply()).status for _ in range(5)] == [200, 200, 401, 401, 200]


@pytest.mark.parametrize("query", ["on_error=record", "on%5ferror=record"])
async def test_what_is_told_record_by_record_does_not_hold_the_loop(start_server: StartServer, query: str) -> None:
    threads: list[int] = []

    def predict(columns: Columns) -> Columns:
        threads.append(threading.get_ident())
        return {"y": columns["x"]}

    signature = signature_of((scalar("x"),), (OutputField("y", "FP64", (-1,)),))
    wire = await (await start_server(Scorer(signature, PythonModel(predict), IDENTITY)))()
    for path in ("/predict", f"/predict?{query}"):
        wire.send(request("POST", path, {"inputs": {"x": 1}}))
        assert (await wire.reply()).status == 200
    assert [thread == threading.get_ident() for thread in threads] == [True, False]


async def test_grpc_is_read_beside_the_loop_and_for_nobody_without_the_token() -> None:
    server = ModelServer(IDENTITY, "secret", 1)
    server.serve(double_scorer(), 0.0)
    infer, bearer = "/inference.GRPCInferenceService/ServerMetadata", {b"authorization": b"Bearer secret"}
    refused = server.answer(bridged(infer, b"", {}))
    assert isinstance(refused, Response)
    assert refused.status == 401
    first = [server.answer(bridged(infer, b"", bearer)) for _ in range(3)]
    assert not any(isinstance(each, Response) for each in first)
    for each in first:
        assert not isinstance(each, Response)
        assert (await each).status == 200
    then = server.answer(bridged("/grpc.health.v1.Health/Check", b"", {}))
    assert isinstance(then, Response)
    assert then.status == 200


async def test_only_predictions_may_have_large_messages(start_server: StartServer) -> None:
    service = "/inference.GRPCInferenceService"
    wire = await (await start_server(double_scorer()))()
    for method, size, status in (
        ("LogSettings", 70_000, 413),
        ("RepositoryIndex", 70_000, 413),
        ("RepositoryIndex", 0, 200),
        ("ModelInfer", 70_000, 404),
    ):
        wire.send(request("POST", f"{service}/{method}", b"\x0a\x00" * (size // 2)))
        assert (await wire.reply()).status == status


async def test_a_message_is_not_read_before_there_is_a_model(start_server: StartServer) -> None:
    wire = await (await start_server())()
    for path in ("/predict", "/v2/models/iris/infer", "/v1/models/iris:predict"):
        wire.send(request("POST", path, b"nonsense"))
        assert (await wire.reply()).status == 503
    wire.send(request("POST", "/inference.GRPCInferenceService/ModelInfer", b"nonsense"))
    assert (await wire.reply()).headers["grpc-status"] == "14"


def failing(error: Exception) -> Predict:
    def predict(columns: Columns) -> Columns:
        raise error

    return predict


@pytest.mark.parametrize(
    ("error", "code"),
    [(PredictionRefused("a node does not like it"), "prediction_refused"),
     (ValueError("a node does not like it"), "prediction_failed"), (RuntimeError(""), "prediction_failed"),
     (MemoryError(), "memory_limit_exceeded")],
)  # fmt: skip
async def test_no_engine_error_is_the_servers_fault(
    start_server: StartServer, capsys: pytest.CaptureFixture[str], error: Exception, code: str
) -> None:
    signature = signature_of((scalar("x"),), (OutputField("y", "FP64", (-1,)),))
    wire = await (await start_server(Scorer(signature, PythonModel(failing(error)), IDENTITY)))()
    wire.send(request("POST", "/predict", {"inputs": {"x": 1}}))
    reply = await wire.reply()
    assert (reply.status, reply.json["code"]) == (422, code)
    assert str(error) in reply.json["detail"]
    # What nobody expected is in the log with its place.
    assert ("Traceback" in capsys.readouterr().err) == (code == "prediction_failed")


class Exhausted(dict[str, NDArray[np.generic]]):
    """Columns for which there is no memory."""

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        raise MemoryError


async def test_a_lack_of_memory_is_told_as_such_wherever_it_shows(start_server: StartServer) -> None:
    signature = signature_of((scalar("x"),), (OutputField("y", "FP64", (-1,)),))
    wire = await (await start_server(Scorer(signature, PythonModel(lambda columns: Exhausted()), IDENTITY)))()
    wire.send(request("POST", "/predict", {"inputs": {"x": 1}}))
    reply = await wire.reply()
    assert (reply.status, reply.json["code"]) == (422, "memory_limit_exceeded")


@pytest.mark.parametrize("name", ["infer", "predict", "ready", "versions", "v2"])
async def test_a_service_may_be_called_like_a_part_of_a_path(start_server: StartServer, name: str) -> None:
    named = await (await start_server(double_scorer(replace(IDENTITY, name=name, service=name))))()
    tensors = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
    for path in (f"/v2/models/{name}", f"/v2/models/{name}/ready", f"/v2/models/{name}/versions/3"):
        named.send(request("GET", path))
        assert (await named.reply()).status == 200, path
    for path, body in ((f"/v2/models/{name}/infer", tensors), (f"/api/v1/services/{name}/predict", ONE)):
        named.send(request("POST", path, body))
        assert (await named.reply()).status == 200, path
