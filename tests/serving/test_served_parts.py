"""A server of several models: each is asked by its key in both protocols, and without one the default answers."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from serving.engines.base import Columns
from serving.loading import Loaded
from serving.score import Scorer
from serving.signature import OutputField
from tests.serving.conftest import StartServer
from tests.serving.models import IDENTITY, PythonModel, scalar, signature_of
from tests.serving.wire import Wire, request

ONE = {"inputs": {"x": 2}}
TENSOR = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [2]}]}
KNOWN = "its parts: de, fr"


def times(factor: int, key: str) -> Loaded:
    """A part that multiplies, slow enough for the pool if its key is `fr`."""

    def predict(columns: Columns) -> Columns:
        return {"y": np.asarray(columns["x"]) * factor}

    signature = signature_of((scalar("x"),), (OutputField("y", "FP64", (-1,)),))
    scorer = Scorer(signature, PythonModel(predict), replace(IDENTITY, part=key))
    return Loaded(scorer, 1.0 if key == "fr" else 0.0)


PARTS: Mapping[str, Loaded] = {"de": times(10, "de"), "fr": times(100, "fr")}


@pytest.fixture
async def wire(start_server: StartServer) -> Wire:
    connected = await start_server(PARTS["de"].scorer, parts=PARTS)
    return await connected()


@pytest.mark.parametrize("prefix", ["", "/api/v1/services/iris"])
@pytest.mark.parametrize(("path", "key", "y"), [("", "de", 20), ("/parts/de", "de", 20), ("/parts/fr", "fr", 200)])
async def test_a_part_answers_by_its_key_and_says_who_it_is(
    wire: Wire, prefix: str, path: str, key: str, y: int
) -> None:
    wire.send(request("POST", f"{prefix}{path}/predict", ONE))
    reply = await wire.reply()
    about = {"model": "flowers", "version": "3", "service": "iris", "part": key}
    assert (reply.status, reply.json) == (200, {"outputs": {"y": y}, **about})


async def test_a_part_is_held_to_the_same_rules(wire: Wire) -> None:
    wire.send(request("POST", "/parts/fr/predict?on_error=record", {"inputs": [{"x": 1}, {"x": "?"}]}))
    reply = await wire.reply()
    assert reply.json["outputs"] == [{"y": 100}, None]
    wire.send(request("POST", "/parts/fr/predict", {"inputs": {"z": 1}}))
    assert (await wire.reply()).status == 422
    wire.send(request("POST", "/parts/fr/predict", b"x\n3\n", content_type="text/csv"))
    assert (await wire.reply()).body == b"y\r\n300.0\r\n"
    wire.send(request("POST", "/parts/fr/read", b"x\n3\n", content_type="text/csv"))
    assert (await wire.reply()).json == {"columns": ["x"], "data": [[3]]}
    wire.send(request("GET", "/parts/fr/predict"))
    assert (await wire.reply()).headers["allow"] == "post"


@pytest.mark.parametrize(
    ("path", "version", "y"), [("", "3", 20), ("/versions/3", "3", 20), ("/versions/fr", "fr", 200)]
)
async def test_a_part_is_a_version_to_generic_clients(wire: Wire, path: str, version: str, y: int) -> None:
    wire.send(request("POST", f"/v2/models/iris{path}/infer", TENSOR))
    reply = await wire.reply()
    assert (reply.json["model_name"], reply.json["model_version"]) == ("iris", version)
    assert reply.json["outputs"][0]["data"] == [y]
    wire.send(request("GET", f"/v2/models/iris{path}") + request("GET", f"/v2/models/iris{path}/ready"))
    assert (await wire.reply()).json["versions"] == ["3", "de", "fr"]
    assert (await wire.reply()).json == {"name": "iris", "ready": True}


@pytest.mark.parametrize("path", ["/parts/es/predict", "/parts//predict", "/api/v1/services/iris/parts/es/predict"])
async def test_an_unknown_key_is_a_404_that_names_the_known_ones(wire: Wire, path: str) -> None:
    wire.send(request("POST", path, ONE))
    reply = await wire.reply()
    assert (reply.status, reply.json["code"]) == (404, "not_found")
    assert KNOWN in reply.json["detail"]


async def test_an_unknown_version_is_a_404_in_the_protocols_words(wire: Wire) -> None:
    wire.send(request("POST", "/v2/models/iris/versions/es/infer", TENSOR))
    error = "Request for unknown model: 'iris' version es is not found; its versions: 3, de, fr"
    reply = await wire.reply()
    assert (reply.status, reply.json) == (404, {"error": error})


async def test_until_the_parts_are_loaded_they_are_not_ready_and_not_unknown(start_server: StartServer) -> None:
    loading = await (await start_server())()
    for path in ("/parts/fr/predict", "/v2/models/iris/versions/fr/infer", "/v2/models/iris/versions/fr"):
        loading.send(request("POST", path, ONE))
        reply = await loading.reply()
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    loading.send(request("GET", "/readyz"))
    assert (await loading.reply()).status == 503


async def test_a_model_without_parts_says_so(start_server: StartServer) -> None:
    alone = await (await start_server(PARTS["de"].scorer))()
    alone.send(request("POST", "/parts/de/predict", ONE))
    reply = await alone.reply()
    assert (reply.status, reply.json["detail"]) == (404, "this model has no parts")


async def test_a_token_guards_a_part_as_well(start_server: StartServer) -> None:
    guarded = await (await start_server(PARTS["de"].scorer, parts=PARTS, token="secret"))()
    guarded.send(request("POST", "/parts/fr/predict", ONE) + request("GET", "/v2/models/iris/versions/fr"))
    guarded.send(request("POST", "/parts/es/predict", ONE) + request("GET", "/v2/models/iris/versions/es"))
    assert [(await guarded.reply()).status for _ in range(4)] == [401] * 4
    guarded.send(request("POST", "/parts/fr/predict", ONE, authorization="Bearer secret"))
    assert (await guarded.reply()).status == 200
