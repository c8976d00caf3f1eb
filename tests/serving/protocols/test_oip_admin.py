"""What Triton's clients ask beside predictions: configuration, repository, settings, shared memory."""

import json
from typing import Any

import pytest

from serving.loading import Loaded
from serving.signature import InputField
from tests.serving.conftest import StartServer
from tests.serving.models import double_scorer, echo_scorer, scalar
from tests.serving.wire import Wire, request

INDEX = [{"name": "iris", "version": "3", "state": "READY", "reason": ""}]


async def ask(wire: Wire, method: str, path: str, body: bytes | object = b"") -> tuple[int, Any]:
    wire.send(request(method, f"/v2/{path}", body))
    reply = await wire.reply()
    return reply.status, json.loads(reply.body)


async def test_the_server_names_the_extensions_that_it_has(wire: Wire) -> None:
    status, about = await ask(wire, "GET", "")
    assert status == 404
    wire.send(request("GET", "/v2"))
    about = (await wire.reply()).json
    assert about["name"] == "portside"
    assert {"binary_tensor_data", "classification", "model_configuration", "model_repository"} <= {*about["extensions"]}


@pytest.mark.parametrize("path", ["models/iris", "models/iris/versions/3"])
async def test_metadata_and_configuration_are_told_for_a_version_too(wire: Wire, path: str) -> None:
    status, metadata = await ask(wire, "GET", path)
    assert (status, metadata["inputs"]) == (200, [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}])
    status, config = await ask(wire, "GET", f"{path}/config")
    assert status == 200
    assert (config["name"], config["platform"], config["max_batch_size"] > 0) == ("iris", "onnx_onnxv1", True)
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [2]}]
    assert (await ask(wire, "GET", f"{path}/ready"))[0] == 200


async def test_a_model_that_does_not_stack_has_no_batch_dimension(start_server: StartServer) -> None:
    scorer = echo_scorer(InputField("x", "BYTES", (-1, 2)), InputField("s", "BOOL", ()), batch="none")
    wire = await (await start_server(scorer))()
    _, config = await ask(wire, "GET", "models/iris/config")
    assert config["max_batch_size"] == 0
    assert config["input"] == [
        {"name": "x", "data_type": "TYPE_STRING", "dims": [-1, 2]},
        {"name": "s", "data_type": "TYPE_BOOL", "dims": [1], "reshape": {"shape": []}},
    ]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"ready":true}', b'{"ready": false}', b'{"repository_name": "r"}'])
async def test_the_repository_has_the_served_model(wire: Wire, body: bytes) -> None:
    assert await ask(wire, "POST", "repository/index", body) == (200, INDEX)


async def test_a_model_that_is_still_loading_is_not_ready(start_server: StartServer) -> None:
    wire = await (await start_server(None))()
    loading = {"name": "iris", "version": "3", "state": "LOADING", "reason": "the model is still being loaded"}
    assert await ask(wire, "POST", "repository/index") == (200, [loading])
    assert await ask(wire, "POST", "repository/index", {"ready": True}) == (200, [])
    for method, path in (("POST", "repository/models/iris/load"), ("GET", "models/iris/config")):
        assert (await ask(wire, method, path))[0] == 503


@pytest.mark.parametrize("body", [b"", b"{}", b'{"parameters": {}}', b'{"parameters": {"unload_dependents": false}}'])
async def test_the_served_model_is_loaded_and_stays_so(wire: Wire, body: bytes) -> None:
    assert await ask(wire, "POST", "repository/models/iris/load", body) == (200, {})
    status, refusal = await ask(wire, "POST", "repository/models/iris/unload", body)
    assert status == 409
    assert refusal["error"].startswith("failed to unload 'iris', the platform decides which models are served")
    assert (await ask(wire, "GET", "models/iris/ready"))[0] == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("repository/models/oak/load", b"", 404, "failed to load 'oak', no model of this name"),
        ("repository/models/oak/unload", b"", 404, "failed to unload 'oak', no model of this name"),
        ("repository/models/iris/load", {"parameters": {"config": "{}"}}, 400, "failed to load 'iris', the parameter"),
        ("repository/models/iris/load", {"parameters": {"file:1/m": ""}}, 400, "would change what is served"),
        ("repository/models/iris/load", {"parameters": [1]}, 400, "not an object"),
        ("repository/models/iris/load", b"{", 400, "the body is not JSON"),
        ("repository/models/iris/load", {"parameters": {"a": "b" * 70_000}}, 413, "larger than the 65536 bytes"),
        ("repository/index", b"[]", 400, "no object"),
        ("repository/index", {"ready": "yes"}, 400, "neither true nor false"),
        (
            "systemsharedmemory/region/r/register",
            {"key": "/k", "byte_size": 8},
            400,
            "system shared memory is not served",
        ),
        ("cudasharedmemory/region/r/register", {}, 400, "cuda shared memory is not served"),
        ("trace/setting", {"trace_level": ["TIMESTAMPS"]}, 400, "cannot be changed"),
        ("trace/setting", {"color": 1}, 400, "there is no setting 'color'"),
        ("logging", {"log_verbose_level": 2}, 400, "cannot be changed"),
        ("logging", b"nonsense", 400, "the body is not JSON"),
    ],
)
async def test_what_would_change_the_server_is_refused(
    wire: Wire, path: str, body: object, status: int, words: str
) -> None:
    given, refusal = await ask(wire, "POST", path, body)
    assert (given, list(refusal)) == (status, ["error"])
    assert words in refusal["error"]


async def test_settings_are_told_and_may_be_set_to_what_they_are(wire: Wire) -> None:
    for path in ("trace/setting", "models/iris/trace/setting", "logging"):
        status, settings = await ask(wire, "GET", path)
        assert status == 200
        for same in (settings, {}, b"", {next(iter(settings)): None}):
            assert await ask(wire, "POST", path, same) == (200, settings)
    assert await ask(wire, "POST", "trace/setting", {"trace_level": "OFF", "trace_rate": 0}) == (200, (
        await ask(wire, "GET", "trace/setting")
    )[1])  # fmt: skip


@pytest.mark.parametrize("kind", ["system", "cuda"])
async def test_no_shared_memory_is_registered(wire: Wire, kind: str) -> None:
    assert await ask(wire, "GET", f"{kind}sharedmemory/status") == (200, [])
    status, refusal = await ask(wire, "GET", f"{kind}sharedmemory/region/r/status")
    assert (status, refusal) == (400, {"error": f"Unable to find {kind} shared memory region: 'r'"})
    for path in ("unregister", "region/r/unregister"):
        assert await ask(wire, "POST", f"{kind}sharedmemory/{path}") == (200, {})


async def test_methods_and_tokens_are_asked_for_there_too(start_server: StartServer) -> None:
    wire = await (await start_server(echo_scorer(scalar("a")), token="secret"))()
    status, refusal = await ask(wire, "GET", "repository/index")
    assert (status, "use POST" in refusal["error"]) == (405, True)
    assert (await ask(wire, "POST", "repository/index"))[0] == 401
    wire.send(request("POST", "/v2/repository/index", authorization="Bearer secret"))
    assert (await wire.reply()).json == INDEX


async def test_an_unknown_model_is_called_so_everywhere(wire: Wire) -> None:
    for method, path in (("GET", ""), ("GET", "/config"), ("GET", "/trace/setting"), ("POST", "/infer")):
        status, refusal = await ask(wire, method, f"models/oak{path}")
        assert status == 404
        assert "Request for unknown model: 'oak' is not found" in refusal["error"]
    status, refusal = await ask(wire, "GET", "models/iris/versions/9/config")
    assert (status, "'iris' version 9 is not found" in refusal["error"]) == (404, True)


async def test_parts_are_versions_there_too(start_server: StartServer) -> None:
    parts = {"north": Loaded(double_scorer(), 0.0)}
    wire = await (await start_server(double_scorer(), parts=parts))()
    assert [each["version"] for each in (await ask(wire, "POST", "repository/index"))[1]] == ["3", "north"]
    assert (await ask(wire, "GET", "models/iris/versions/north/config"))[0] == 200
