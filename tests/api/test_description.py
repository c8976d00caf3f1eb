"""The API's description says enough for a client that is generated from it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from api.app import openapi_document
from api.schemas.base import Body
from api.schemas.signature import InputShown, OutputShown, TargetVariableShown

COMPONENTS = "#/components/schemas/"
BODIES = (
    "ModelCreate",
    "ModelPatch",
    "VersionPatch",
    "ServiceCreate",
    "ServicePut",
    "ServicePatch",
    "PredictionInput",
    "ImmediateInput",
)


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return dict(openapi_document())


def operations(description: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in description["paths"].values():
        yield from ((operation["operationId"], operation) for operation in path.values())


def bodies_by_name(base: type[Body] = Body) -> dict[str, type[Body]]:
    """Every class of a request's body."""
    found = {base.__name__: base}
    for body in base.__subclasses__():
        found |= bodies_by_name(body)
    return found


def named_bodies(description: dict[str, Any]) -> dict[str, str]:
    """The operations that take JSON, and what their body is called."""
    found = {}
    for name, operation in operations(description):
        media_type = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if media_type is not None:
            schema = media_type["schema"]
            kinds = schema.get("oneOf") or schema.get("anyOf", [schema])[:1]
            for number, part in enumerate(kinds):
                found[f"{name}-{number}" if number else name] = part["$ref"].removeprefix(COMPONENTS)
    return found


def test_every_body_has_examples_and_takes_them(description: dict[str, Any]) -> None:
    bodies = named_bodies(description)
    assert set(BODIES) <= set(bodies.values())
    for name in set(bodies.values()):
        examples = description["components"]["schemas"][name].get("examples")
        assert examples, f"{name} has no example"
        for example in examples:
            bodies_by_name()[name].model_validate(example)


def test_every_answer_says_what_it_is(description: dict[str, Any]) -> None:
    silent = [
        f"{name} {status} {media_type}"
        for name, operation in operations(description)
        for status, response in operation["responses"].items()
        for media_type, content in response.get("content", {}).items()
        if not content.get("schema")
    ]
    assert silent == []
    successes = {name: operation["responses"] for name, operation in operations(description)}
    assert all(any("content" in answers[s] or s == "204" for s in answers if s < "3") for answers in successes.values())


def test_streams_logs_and_files_are_no_json(description: dict[str, Any]) -> None:
    by_name = dict(operations(description))
    media_types = {
        "stream_operation_events": "text/event-stream",
        "stream_prediction": "text/event-stream",
        "read_replica_logs": "text/plain",
        "get_metrics": "text/plain",
        "download_artifact": "application/octet-stream",
        "download_part": "application/octet-stream",
        "download_file": "application/octet-stream",
    }
    found = {name: [*by_name[name]["responses"]["200"]["content"]] for name in media_types}
    assert found == {name: [media_type] for name, media_type in media_types.items()}


def test_immediate_predictions_are_described_though_the_gateway_answers_them(description: dict[str, Any]) -> None:
    operation = description["paths"]["/api/v1/services/{service}/predict"]["post"]
    assert operation["operationId"] == "predict"
    assert [parameter["name"] for parameter in operation["parameters"]] == [
        "service",
        "on_error",
        "Portside-Timeout",
    ]
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].removeprefix(COMPONENTS)
    assert list(description["components"]["schemas"][answer]["properties"]) == [
        "outputs",
        "errors",
        "model",
        "version",
        "service",
        "part",
    ]


def test_a_prediction_of_a_part_is_described_beside_it(description: dict[str, Any]) -> None:
    operation = description["paths"]["/api/v1/services/{service}/parts/{part}/predict"]["post"]
    whole = description["paths"]["/api/v1/services/{service}/predict"]["post"]
    names = [parameter["name"] for parameter in operation["parameters"]]
    assert names == ["service", "part", "on_error", "Portside-Timeout"]
    assert (operation["requestBody"], operation["responses"]) == (whole["requestBody"], whole["responses"])


def test_what_a_patch_leaves_out_has_no_default_that_a_client_would_send(description: dict[str, Any]) -> None:
    schemas = description["components"]["schemas"]
    defaults = {
        f"{name}.{field}": shape["default"]
        for name in named_bodies(description).values()
        if name.endswith("Patch")
        for field, shape in schemas[name]["properties"].items()
        if "default" in shape
    }
    assert defaults == {}


@pytest.mark.parametrize(
    ("part", "shown"), [("InputField", InputShown), ("OutputField", OutputShown), ("Target", TargetVariableShown)]
)
def test_the_parts_of_a_version_are_those_of_its_signature(
    part: str, shown: type[BaseModel], repository_root: Path
) -> None:
    schema = json.loads((repository_root / "serving/signature.schema.json").read_text("utf-8"))
    found = schema["$defs"][part]
    assert list(shown.model_fields) == list(found["properties"])
    assert [name for name, field in shown.model_fields.items() if field.is_required()] == found["required"]


def parameter(operation: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (each["schema"] for each in operation["parameters"] if each["name"] == name)
    return dict(found)


def test_a_list_tells_what_it_is_filtered_and_ordered_by(description: dict[str, Any]) -> None:
    by_name = dict(operations(description))
    assert parameter(by_name["list_models"], "created_at") == {"type": "string", "format": "date-time"}
    assert parameter(by_name["list_webhooks"], "enabled") == {"type": "boolean"}
    assert parameter(by_name["list_revisions"], "number")["type"] == "integer"
    order_by = re.compile(parameter(by_name["list_models"], "order_by")["pattern"])
    assert [name for name in ("-created_at", "name", "-name", "status", "") if order_by.search(name)] == [
        "-created_at",
        "name",
        "-name",
    ]


@pytest.mark.parametrize(
    ("operation_id", "name", "good", "bad"),
    [
        ("put_service", "service", "iris-2", "Iris"),
        ("set_alias", "alias", "best", "-best"),
        ("upload_version", "model", "iris", "iris-"),
        ("put_prediction", "prediction", "prd_own", "own"),
    ],
)
def test_a_path_that_names_something_new_tells_the_rule(
    description: dict[str, Any], operation_id: str, name: str, good: str, bad: str
) -> None:
    pattern = parameter(dict(operations(description))[operation_id], name)["pattern"]
    assert re.search(pattern, good)
    assert not re.search(pattern, bad)


def test_every_change_may_be_answered_with_its_operation(description: dict[str, Any]) -> None:
    silent = set()
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            answers = operation["responses"]
            accepted = answers.get("202", {}).get("content", {}).get("application/json", {}).get("schema", {})
            shows = accepted.get("$ref") == f"{COMPONENTS}OperationShown"
            shows |= answers.get("200", {}).get("content", {}).get("application/json", {}).get("schema", {}) == {
                "$ref": f"{COMPONENTS}OperationShown"
            }
            # A prediction is its own operation, a request for many tells of each, and a report is none.
            if method != "get" and not shows and "/predict" not in path:
                silent.add(operation["operationId"])
    assert silent == {"cancel_operations", "retry_operations", "pause_services", "resume_services", "create_report"}
    assert "200" in dict(operations(description))["retry_operation"]["responses"]


def numbers_with_a_fraction(part: object) -> Iterator[str]:
    for name, value in part.items() if isinstance(part, dict) else enumerate(part if isinstance(part, list) else ()):
        if isinstance(value, float) and value.is_integer() and "imum" in str(name):
            yield f"{name}: {value}"
        yield from numbers_with_a_fraction(value)


def test_the_limits_of_whole_numbers_are_whole(description: dict[str, Any]) -> None:
    assert list(numbers_with_a_fraction(description)) == []
