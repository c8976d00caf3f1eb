"""Names for the places of a vector input: given with the upload or later, shown, and refused where they do not fit."""

import json

import pytest
from httpx2 import AsyncClient

from api.dependencies import Context
from tests.api.catalogue import ONNX, is_accepted, ready_version
from tests.api.platform import is_problem, work_on

VERSIONS = "/api/v1/models/iris/versions"
NAMES = {"x": ["sepal_length", "sepal_width", "petal_length", "petal_width"]}


async def test_they_may_come_with_the_upload(client: AsyncClient, context: Context) -> None:
    form = {"file": ("iris.onnx", ONNX)}
    answer = await client.post(VERSIONS, files=form, data={"features": json.dumps(NAMES)})
    assert answer.status_code == 202, answer.text
    await work_on(context, is_accepted)
    assert (await client.get(f"{VERSIONS}/1")).json()["features"] == NAMES


async def test_they_may_be_changed_and_taken_away(client: AsyncClient, context: Context) -> None:
    await ready_version(client, context)
    assert (await client.get(f"{VERSIONS}/1")).json()["features"] is None
    shown = (await client.patch(f"{VERSIONS}/1", json={"features": NAMES})).json()
    assert shown["features"] == NAMES
    assert (await client.patch(f"{VERSIONS}/1", json={"features": None})).json()["features"] is None


@pytest.mark.parametrize(
    ("features", "pointer"),
    [
        ({"x": ["a"]}, "/features/x"),
        ({"y": ["a"]}, "/features/y"),
        ({"x": ["a", "b", "c", "x"]}, "/features/x/3"),
        ({"x": ["a", "b", "c", "c"]}, "/features"),
        ({"x": []}, "/features"),
        ({"x": [""] * 4}, "/features"),
        ({"x": "abcd"}, "/features/x"),
        ({"x": ["a"] * 10_001}, "/features/x"),
        (["a"], "/features"),
    ],
)
async def test_names_that_do_not_fit_are_refused(
    client: AsyncClient, context: Context, features: object, pointer: str
) -> None:
    await ready_version(client, context)
    answer = await client.patch(f"{VERSIONS}/1", json={"features": features})
    is_problem(answer, 422, "invalid_field")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert (await client.get(f"{VERSIONS}/1")).json()["features"] is None


@pytest.mark.parametrize("features", ["{", "[1]", '{"x": "a"}', '{"x": ["a", "a"]}'])
async def test_names_that_cannot_be_right_are_refused_with_the_upload(client: AsyncClient, features: str) -> None:
    answer = await client.post(VERSIONS, files={"file": ("iris.onnx", ONNX)}, data={"features": features})
    is_problem(answer, 422, "invalid_field")
    assert answer.json()["errors"][0]["pointer"].startswith("/features")
