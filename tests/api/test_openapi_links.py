"""The description's links: what an answer makes possible, and where in it is what that needs."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from httpx2 import AsyncClient

from api.app import openapi_document
from api.dependencies import Context
from tests.api.catalogue import ONNX, add_ready_versions

# `owner` may be anything, so nothing tells it; a version has parts, and which services run it is not told there; a run
# is led to below its job.
LED_TO_BY_NOTHING = {"create_deployment_prediction", "predict_part", "get_run_by_id"}
BODY = "$response.body#"


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return dict(openapi_document())


def operations(description: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By their ids."""
    return {each["operationId"]: each for path in description["paths"].values() for each in path.values()}


def links(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The operation that answers, the status, the link."""
    for name, operation in operations(description).items():
        for status, response in operation["responses"].items():
            yield from ((name, status, link) for link in response.get("links", {}).values())


def resolved(description: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = description["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def is_in(description: dict[str, Any], schema: dict[str, Any], pointer: str) -> bool:
    """Whether the schema has what the JSON pointer names."""
    for step in pointer.removeprefix("/").split("/"):
        schema = resolved(description, schema)
        found = schema.get("items") if step.isdecimal() else schema.get("properties", {}).get(step)
        if found is None:
            return False
        schema = found
    return True


def parameters_in_path(operation: dict[str, Any]) -> set[str]:
    return {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}


def test_every_link_finds_what_it_needs_and_goes_where_that_is_taken(description: dict[str, Any]) -> None:
    by_id = operations(description)
    for name, status, link in links(description):
        assert set(link["parameters"]) <= parameters_in_path(by_id[link["operationId"]])
        for expression in link["parameters"].values():
            match = re.fullmatch(r"\$response\.body#(/.+)|\$request\.path\.(\w+)", expression)
            assert match is not None, expression
            if match[2] is not None:
                assert match[2] in parameters_in_path(by_id[name])
            else:
                schema = by_id[name]["responses"][status]["content"]["application/json"]["schema"]
                assert is_in(description, schema, match[1]), f"{name} {status} has no {match[1]}"


def test_whatever_has_a_name_in_its_path_is_led_to(description: dict[str, Any]) -> None:
    named = {name for name, operation in operations(description).items() if parameters_in_path(operation)}
    whole = {
        link["operationId"]
        for _, _, link in links(description)
        if set(link["parameters"]) == parameters_in_path(operations(description)[link["operationId"]])
    }
    assert named - whole == LED_TO_BY_NOTHING | {
        "put_prediction",
        "put_upload_part",
        "set_alias",
    }  # their last name is the client's own


@pytest.mark.parametrize(
    ("source", "status", "target", "parameters"),
    [
        ("create_model", "201", "get_model", {"model": f"{BODY}/name"}),
        ("create_model", "202", "get_version", {"model": f"{BODY}/target/model", "version": f"{BODY}/target/name"}),
        ("upload_version", "201", "test_version", {"model": "$request.path.model", "version": f"{BODY}/version"}),
        ("create_service", "202", "get_operation", {"operation_id": f"{BODY}/id"}),
        ("create_service", "202", "predict", {"service": f"{BODY}/target/name"}),
        ("create_service", "201", "pause_service", {"service": f"{BODY}/name"}),
        ("create_webhook", "201", "delete_webhook", {"webhook_id": f"{BODY}/id"}),
        ("create_prediction", "202", "cancel_prediction", {"prediction": f"{BODY}/id"}),
        ("set_alias", "200", "delete_alias", {"model": f"{BODY}/name", "alias": "$request.path.alias"}),
        (
            "list_replicas",
            "200",
            "restart_replica",
            {"service": "$request.path.service", "replica": f"{BODY}/items/0/id"},
        ),
    ],
)
def test_what_can_be_done_next(
    description: dict[str, Any], source: str, status: str, target: str, parameters: dict[str, str]
) -> None:
    link = operations(description)[source]["responses"][status]["links"][target]
    assert link == {"operationId": target, "parameters": parameters}


async def test_what_an_upload_is_answered_leads_to_its_version(client: AsyncClient, context: Context) -> None:
    """The target of an operation is called as the paths call it, which only an answer can show."""
    await add_ready_versions(context, 1)
    raw = {"content-type": "application/octet-stream"}
    uploaded = await client.post("/api/v1/models/iris/versions", content=ONNX, headers=raw)
    assert uploaded.status_code == 202, uploaded.text
    target = uploaded.json()["target"]
    found = await client.get(f"/api/v1/models/{target['model']}/versions/{target['name']}")
    assert (found.status_code, found.json()["id"]) == (200, target["id"])
