"""KServe's V1 protocol: rows, records and columns in, the engine's outputs back, every mistake a 4xx in one string."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serving.loading import Loaded
from serving.problems import Problem
from serving.protocols.v1 import V1Model
from serving.score import Scorer
from serving.signature import InputField, OutputField
from tests.serving.conftest import StartServer
from tests.serving.models import IDENTITY, PythonModel, double_scorer, echo_scorer, scalar, signature_of
from tests.serving.wire import Wire, request

FLOWER = InputField("flower", "FP32", (-1, 2), features=("length", "width"))
TWO = (scalar("age"), InputField("job", "BYTES", (-1,), nullable=True))


def ask(scorer: Scorer, body: object) -> Any:
    return json.loads(V1Model(scorer).predict(json.dumps(body).encode()))


@pytest.mark.parametrize(
    "instances",
    [[[1, 2], [3, 4]], [{"x": [1, 2]}, {"x": [3, 4]}], [[1, 2], {"x": [3, 4]}]],
)
def test_the_only_input_may_come_as_rows_or_by_its_name_and_the_only_output_is_a_value(instances: object) -> None:
    expected = {"predictions": [[2, 4], [6, 8]]}
    assert ask(double_scorer(), {"instances": instances}) == expected
    assert ask(double_scorer(), {"inputs": instances, "parameters": {}}) == expected
    assert ask(double_scorer(), {"signature_name": "serving_default", "instances": instances}) == expected


def test_several_inputs_come_as_records_and_several_outputs_are_objects() -> None:
    people = [{"age": 1, "job": "clerk"}, {"age": 2, "job": None}]
    assert ask(echo_scorer(*TWO), {"instances": people}) == {"predictions": people}


def test_a_vector_may_come_by_the_names_of_its_places() -> None:
    assert ask(echo_scorer(FLOWER), {"instances": [{"width": 2, "length": 1}]}) == {"predictions": [[1, 2]]}


def test_columns_are_answered_in_columns() -> None:
    assert ask(double_scorer(), {"inputs": {"x": [[1, 2], [3, 4]]}}) == {"outputs": [[2, 4], [6, 8]]}
    columns = {"age": [1, 2], "job": ["a", "b"]}
    assert ask(echo_scorer(*TWO), {"inputs": columns}) == {"outputs": columns}


def test_bytes_come_in_the_protocols_own_way() -> None:
    scorer = echo_scorer(InputField("image", "UINT8", (-1, -1)))
    assert ask(scorer, {"instances": [{"b64": "YWI="}]}) == {"predictions": [[97, 98]]}
    assert ask(scorer, {"instances": [{"image": {"b64": "YWI="}}]}) == {"predictions": [[97, 98]]}


def test_scalars_nan_and_models_that_take_one_record_or_none() -> None:
    assert ask(echo_scorer(scalar("x")), {"instances": [1, 2]}) == {"predictions": [1, 2]}
    outputs = (OutputField("y", "FP64", (-1,)),)
    nan = Scorer(signature_of((scalar("x"),), outputs), PythonModel(lambda c: {"y": np.array([np.nan])}), IDENTITY)
    assert ask(nan, {"instances": [1]}) == {"predictions": [None]}
    looped = echo_scorer(InputField("x", "FP32", (1, 2)), batch="loop")
    assert ask(looped, {"instances": [[1, 2], [3, 4]]}) == {"predictions": [[1, 2], [3, 4]]}
    whole = echo_scorer(InputField("x", "FP32", (2,)), batch="none")
    assert ask(whole, {"instances": [[1, 2], [3, 4]]}) == {"predictions": [[1, 2], [3, 4]]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "must be an object"),
        ({}, "neither"),
        ({"instances": [[1, 2]], "inputs": [[1, 2]]}, "'instances', 'inputs'"),
        ({"instances": [[1, 2]], "rows": 1}, "'rows'"),
        ({"instances": {"x": [1, 2]}}, "must be a list"),
        ({"instances": []}, "/instances: is an empty list"),
        ({"instances": [[1, 2], [3]]}, "/instances/1/x: has the shape [1]"),
        ({"instances": [{"y": [1, 2]}]}, "/instances/0/y: is not an input"),
        ({"instances": ["a"]}, "/instances/0/x"),
        ({"instances": [{"b64": 1}]}, "no text in `$base64`"),
        ({"inputs": {"y": [[1, 2]]}}, "/inputs/y"),
        ({"inputs": {"x": [[1, 2], [3]]}}, "/inputs/x"),
        ({"inputs": {}}, "/inputs"),
        ({"inputs": 1}, "must be a list"),
    ],
)
def test_a_mistake_is_told_at_its_place_in_the_body(body: object, words: str) -> None:
    with pytest.raises(Problem) as caught:
        ask(double_scorer(), body)
    assert caught.value.status in (400, 422)
    assert words in caught.value.detail


def test_a_row_for_several_inputs_is_refused() -> None:
    with pytest.raises(Problem, match="must be an object"):
        ask(echo_scorer(*TWO), {"instances": [[1, "clerk"]]})


def test_outputs_that_do_not_belong_to_records_are_refused() -> None:
    outputs = (OutputField("y", "FP64", (-1,)),)
    reducing = Scorer(signature_of((scalar("x"),), outputs), PythonModel(lambda c: {"y": np.zeros(1)}), IDENTITY)
    with pytest.raises(Problem, match="cannot be told apart by record"):
        ask(reducing, {"instances": [1, 2]})


async def test_models_are_listed_and_tell_whether_they_are_ready(wire: Wire) -> None:
    for path in ("/v1/models", "/v1/models/iris", "/v1/models/iris/versions/3"):
        wire.send(request("GET", path))
    bodies = [(await wire.reply()).json for _ in range(3)]
    assert bodies == [{"models": ["iris"]}, {"name": "iris", "ready": True}, {"name": "iris", "ready": True}]


@pytest.mark.parametrize(
    "path", ["/v1/models/iris:predict", "/v1/models/iris%3Apredict", "/v1/models/iris/versions/3:predict"]
)
async def test_predictions_are_answered_at_each_spelling_of_the_path(wire: Wire, path: str) -> None:
    wire.send(request("POST", path, {"instances": [[1, 2]]}))
    assert (await wire.reply()).json == {"predictions": [[2, 4]]}


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("POST", "/v1/models/rose:predict", 404, "Model with name rose does not exist."),
        ("GET", "/v1/models/rose", 404, "Model with name rose does not exist."),
        ("POST", "/v1/models/iris/versions/4:predict", 404, "there is nothing at"),
        ("POST", "/v1/models/iris:explain", 404, "no model here has an explainer"),
        ("GET", "/v1/models/iris:predict", 405, "use POST"),
        ("POST", "/v1/models/iris:predict", 400, "must have either 'instances' or 'inputs'"),
    ],
)
async def test_what_is_refused_is_one_string(wire: Wire, method: str, path: str, status: int, words: str) -> None:
    wire.send(request(method, path, {} if method == "POST" else b""))
    reply = await wire.reply()
    assert reply.status == status
    assert words in reply.json["error"]


async def test_an_input_that_does_not_fit_is_a_400(wire: Wire) -> None:
    wire.send(request("POST", "/v1/models/iris:predict", {"instances": [[1, "2"]]}))
    wire.send(request("POST", "/v1/models/iris:predict", b"{"))
    wire.send(request("POST", "/v1/models/iris:predict", b"a,b\n", content_type="text/csv"))
    assert [(await wire.reply()).status for _ in range(3)] == [400, 400, 415]


async def test_a_part_is_a_version_of_its_own(start_server: StartServer) -> None:
    part = Loaded(double_scorer(replace(IDENTITY, part="old")), 0.0)
    wire = await (await start_server(echo_scorer(InputField("x", "FP32", (-1, 2))), parts={"old": part}))()
    wire.send(request("POST", "/v1/models/iris:predict", {"instances": [[1, 2]]}))
    wire.send(request("POST", "/v1/models/iris/versions/old:predict", {"instances": [[1, 2]]}))
    assert [(await wire.reply()).json["predictions"] for _ in range(2)] == [[[1, 2]], [[2, 4]]]


async def test_a_server_that_still_loads_is_not_ready(start_server: StartServer) -> None:
    wire = await (await start_server())()
    wire.send(request("GET", "/v1/models/iris") + request("POST", "/v1/models/iris:predict", {}))
    replies = [await wire.reply() for _ in range(2)]
    assert [(reply.status, reply.json) for reply in replies] == [
        (503, {"name": "iris", "ready": False}), (503, {"error": "the model is still being loaded"}),
    ]  # fmt: skip
