"""Versions by the URL of their file: checked while somebody listens, answered at once, fetched by a worker."""

import pytest
from httpx2 import AsyncClient

from api.addresses import check_source_uri
from api.dependencies import Context
from api.schemas.versions import VersionShown
from core.errors import InvalidField
from core.settings import Settings
from tests.api.catalogue import ONNX, left_behind
from tests.api.platform import is_problem

MODELS, VERSIONS = "/api/v1/models", "/api/v1/models/iris/versions"
URI = "https://models.example/exports/iris%20v2.onnx?signature=abc"


async def test_a_url_becomes_a_version_that_is_to_be_fetched(client: AsyncClient, context: Context) -> None:
    body = {"source_uri": URI, "description": "by night", "tags": ["a"], "metrics": {"auc": 0.9}, "task": "regression"}
    answer = await client.post(VERSIONS, json={**body, "name": "iris", "type": "ONNX"})
    assert answer.status_code == 202, answer.text
    operation = answer.json()
    assert (operation["kind"], operation["status"]) == ("version.inspect", "queued")
    shown = VersionShown.model_validate((await client.get(operation["target"]["url"])).json())
    assert (shown.source_uri, shown.filename, shown.status) == (URI, "iris v2.onnx", "received")
    assert (shown.digest, shown.size_bytes, shown.format) == (None, None, None)
    assert (shown.description, shown.tags, shown.metrics) == ("by night", ["a"], {"auc": 0.9})
    assert shown.task == "regression"
    is_problem(await client.get(shown.artifact), 409, "not_fetched")
    deployed = await client.post("/api/v1/services", json={"name": "iris", "model": "iris", "version": "1"})
    is_problem(deployed, 409, "version_not_ready")
    assert await left_behind(context) == []


async def test_a_model_and_its_version_1_are_made_of_a_url_at_once(client: AsyncClient) -> None:
    body = {"name": "iris", "source_uri": URI, "display_name": "Iris"}
    key = {"Idempotency-Key": "once"}
    first, again = [await client.post(MODELS, json=body, headers=key) for _ in range(2)]
    assert (first.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert first.json()["id"] == again.json()["id"]
    model = (await client.get(f"{MODELS}/iris")).json()
    assert (model["display_name"], model["versions"]) == ("Iris", 1)
    is_problem(await client.post(MODELS, json=body), 409, "name_taken")


REFUSED: dict[str, tuple[dict[str, object], str, str]] = {
    "no source": ({"description": "x"}, "/source_uri", "invalid_field"),
    "no text": ({"source_uri": 5}, "/source_uri", "invalid_field"),
    "S3": ({"source_uri": "s3://bucket/iris.onnx"}, "/source_uri", "invalid_field"),
    "a file of the server": ({"source_uri": "file:///etc/passwd"}, "/source_uri", "invalid_field"),
    "no host": ({"source_uri": "https:///iris.onnx"}, "/source_uri", "invalid_field"),
    "a password": ({"source_uri": "https://me:secret@models.example/m.onnx"}, "/source_uri", "invalid_field"),
    "a private address": ({"source_uri": "http://169.254.169.254/latest"}, "/source_uri", "invalid_field"),
    "a space": ({"source_uri": "https://models.example/a b.onnx"}, "/source_uri", "invalid_field"),
    "a file as well": ({"source_uri": URI, "file": "abc"}, "/file", "invalid_field"),
    "another name": ({"source_uri": URI, "name": "other"}, "/name", "invalid_field"),
    "an unknown field": ({"source_uri": URI, "source_url": URI}, "/source_url", "unknown_field"),
    "a format we do not know": ({"source_uri": URI, "type": "pickle"}, "/type", "invalid_field"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_wrong_body_names_its_field_and_leaves_nothing_behind(client: AsyncClient, name: str) -> None:
    body, pointer, code = REFUSED[name]
    problem = is_problem(await client.post(VERSIONS, json=body), 422, code)
    assert pointer in [error["pointer"] for error in problem["errors"]]  # type: ignore[attr-defined]  # a list of JSON
    assert "secret" not in str(problem)
    assert (await client.get(MODELS)).json()["items"] == []


@pytest.mark.parametrize(
    "shared", [{"require_token": True}, {"database_url": "postgresql://db/portside"}, {"host": "0.0.0.0"}]
)
def test_this_machine_is_a_source_only_for_a_platform_of_its_own(settings: Settings, shared: dict[str, object]) -> None:
    check_source_uri("http://127.0.0.1:8091/iris.onnx", settings, "/source_uri")
    theirs = settings.model_copy(update=shared)
    for host in ("127.0.0.1", "localhost", "[::1]"):
        with pytest.raises(InvalidField, match="PORTSIDE_ALLOW_PRIVATE_SOURCES=true opens"):
            check_source_uri(f"http://{host}:8091/iris.onnx", theirs, "/source_uri")
    opened = theirs.model_copy(update={"allow_private_sources": True})
    check_source_uri("http://127.0.0.1:8091/iris.onnx", opened, "/source_uri")


async def test_what_is_served_is_said_to_who_asks_for_more(client: AsyncClient) -> None:
    problem = is_problem(await client.post(VERSIONS, json={"source_uri": "s3://bucket/key"}), 422, "invalid_field")
    assert "https://" in str(problem["detail"])


async def test_a_new_model_needs_a_name_and_a_form_has_no_source(client: AsyncClient) -> None:
    problem = is_problem(await client.post(MODELS, json={"source_uri": URI}), 422, "invalid_field")
    assert problem["errors"][0]["pointer"] == "/name"  # type: ignore[index]  # a list of JSON
    both = await client.post(VERSIONS, files={"file": ("m.onnx", ONNX)}, data={"source_uri": URI})
    problem = is_problem(both, 422, "invalid_field")
    assert problem["errors"][0]["pointer"] == "/source_uri"  # type: ignore[index]
    is_problem(await client.post(VERSIONS, json=[1]), 422, "invalid_field")
