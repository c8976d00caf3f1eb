"""The figures of a replica over HTTP: Triton's statistics and Prometheus' text, of one model and of parts."""

from typing import Any

import pytest

from serving.loading import Loaded
from tests.serving.conftest import StartServer
from tests.serving.models import IDENTITY, double_scorer
from tests.serving.protocols.grpc_messages import infer_request
from tests.serving.wire import Wire, request

ONE = {"inputs": {"x": [1, 2]}}


async def asked(wire: Wire, path: str) -> Any:
    wire.send(request("GET", path))
    reply = await wire.reply()
    assert reply.status == 200, reply.body
    return reply.json


async def test_predictions_of_any_kind_are_in_tritons_statistics(wire: Wire) -> None:
    table = b"x\n1\n2\n"
    for body, headers in ((ONE, {}), (table, {"content_type": "text/csv"}), (b"nonsense", {})):
        wire.send(request("POST", "/predict", body, **headers))
        await wire.reply()
    for path in ("/v2/models/iris/stats", "/v2/models/iris/versions/3/stats", "/v2/models/stats"):
        (stats,) = (await asked(wire, path))["model_stats"]
        assert (stats["name"], stats["version"]) == ("iris", "3")
        spent = stats["inference_stats"]
        assert spent["success"]["count"] + spent["fail"]["count"] == 3
        assert stats["inference_count"] == spent["success"]["count"]
    wire.send(request("GET", "/v2/models/other/stats"))
    assert (await wire.reply()).status == 404


TENSOR = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
INFER, V1 = "/v2/models/iris/infer", "/v1/models/iris:predict"
BRIDGED = "/inference.GRPCInferenceService/ModelInfer"
COUNTED: tuple[tuple[str, object, dict[str, str], bool], ...] = (
    ("/predict", ONE, {}, True),
    ("/predict", b"x\n1\n2\n", {"content_type": "text/csv", "accept": "application/x-ndjson"}, False),
    ("/predict", {"inputs": {"x": "one"}}, {}, False),
    ("/predict", b"nonsense", {}, False),
    ("/predict", b"nonsense", {"content_encoding": "gzip"}, False),
    ("/predict", b"nonsense", {"content_encoding": "br"}, False),
    ("/predict?x=1", ONE, {}, False),
    ("/predict", b"x", {"content_type": "video/mp4"}, False),
    (INFER, {"inputs": [TENSOR]}, {}, True),
    (INFER, {"inputs": []}, {}, False),
    (INFER, b"x\n1\n", {"content_type": "text/csv"}, False),
    (V1, {"instances": [[1, 2]]}, {}, True),
    (V1, {"inputs": {"x": [[1, 2]]}}, {}, True),
    (V1, {"instances": ["one"]}, {}, False),
    (V1, {"neither": 1}, {}, False),
    (BRIDGED, infer_request().SerializeToString(), {}, True),
    (BRIDGED, infer_request(model="rose").SerializeToString(), {}, False),
    (BRIDGED, b"nonsense", {}, False),
)


@pytest.mark.parametrize("call_s", [0.0, 1.0])
async def test_every_request_is_counted_once_as_answered_or_failed(start_server: StartServer, call_s: float) -> None:
    scorer = double_scorer()
    wire = await (await start_server(scorer, call_s=call_s))()
    expected = [0, 0]
    for path, body, headers, is_answered in COUNTED:
        wire.send(request("POST", path, body, **headers))
        assert ((await wire.reply()).status == 200) == is_answered
        expected[not is_answered] += 1
        entry: Any = scorer.statistics.entry("iris", "3")
        spent = entry["inference_stats"]
        assert [spent["success"]["count"], spent["fail"]["count"]] == expected, (path, body)


async def test_what_workers_read_is_no_prediction(wire: Wire) -> None:
    for path, body in (("/read", b"{"), ("/v1/models/iris:explain", b"{}")):
        wire.send(request("POST", path, body, content_type="text/csv"))
        assert (await wire.reply()).status >= 400
    (stats,) = (await asked(wire, "/v2/models/stats"))["model_stats"]
    assert stats["inference_stats"]["fail"]["count"] == 0


async def test_each_part_has_its_own_figures(start_server: StartServer) -> None:
    parts = {key: Loaded(double_scorer(), 0.0) for key in ("de", "en")}
    wire = await (await start_server(parts["de"].scorer, parts=parts))()
    wire.send(request("POST", "/parts/en/predict", ONE))
    await wire.reply()
    (stats,) = (await asked(wire, "/v2/models/iris/versions/en/stats"))["model_stats"]
    assert (stats["version"], stats["inference_count"]) == ("en", 1)
    every = (await asked(wire, "/v2/models/iris/stats"))["model_stats"]
    assert [(each["version"], each["inference_count"]) for each in every] == [("3", 0), ("de", 0), ("en", 1)]
    wire.send(request("GET", "/metrics"))
    text = (await wire.reply()).body.decode()
    assert 'portside_model_records_total{service="iris",part="en"} 1\n' in text
    assert 'portside_model_records_total{service="iris",part="de"} 0\n' in text
    assert 'part=""' not in text


async def test_figures_need_the_token_that_predictions_need(start_server: StartServer) -> None:
    wire = await (await start_server(double_scorer(), token="secret"))()
    for path in ("/metrics", f"/v2/models/{IDENTITY.name}/stats", "/v2/models/stats"):
        wire.send(request("GET", path))
        assert (await wire.reply()).status == 401
        wire.send(request("GET", path, authorization="Bearer secret"))
        assert (await wire.reply()).status == 200


async def test_a_server_that_still_loads_has_figures_of_its_process(start_server: StartServer) -> None:
    wire = await (await start_server())()
    wire.send(request("GET", "/metrics"))
    reply = await wire.reply()
    assert (reply.status, reply.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b"process_resident_memory_bytes" in reply.body
    wire.send(request("GET", "/v2/models/iris/versions/3/stats"))
    assert (await wire.reply()).status == 503
