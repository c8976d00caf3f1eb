"""Generated scripts over the API: of a job, and of a version before there is one."""

import ast
from typing import Any
from urllib.parse import quote

import pytest
from httpx2 import AsyncClient, Response

from api.dependencies import Context
from tests.api.catalogue import running_service
from tests.api.jobs import FLOWERS, JOBS, add_dataset, make_job, prepared
from tests.api.platform import is_problem

SCRIPT = "/api/v1/models/iris/versions/1:script"


@pytest.fixture(autouse=True)
async def _world(context: Context) -> None:
    await prepared(context)


def constants(answer: Response) -> dict[str, object]:
    """What the script's constants are; it must be Python."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/x-python; charset=utf-8"
    found = {}
    for node in ast.parse(answer.text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


async def test_the_script_of_a_job_says_what_its_runs_do(client: AsyncClient) -> None:
    more: dict[str, Any] = {"output": {"format": "jsonl"}, "chunk_rows": 100, "file_name": "score it.py"}
    await make_job(client, on_error={"policy": "limit", "limit": 7}, **more)
    answer = await client.get(f"{FLOWERS}/script?against=api&service=flora")
    found = constants(answer)
    assert answer.headers["content-disposition"].endswith("score%20it.py")
    assert (found["SERVICE"], found["API"]) == ("flora", "http://localhost:8000")
    assert found["FEEDS"] == {f"x({at})": name for at, name in enumerate("abcd")}
    assert (found["MOST_BAD"], found["CHUNK_ROWS"], found["PASS_THROUGH"]) == (7, 100, ["id"])
    assert (found["INPUT"], found["OUTPUT"]) == ("flowers.csv", "flowers-output.jsonl")
    local = constants(await client.get(f"{FLOWERS}/script"))
    assert (local["MODEL"], local["INPUTS"]) == ("iris-2.onnx", [("x", "FP32", ["a", "b", "c", "d"], [4])])


async def test_a_version_has_one_before_there_is_any_job(client: AsyncClient, context: Context) -> None:
    await running_service(client, context, "flora", version=1)
    body = {"input": {"dataset": "flowers"}, "pass_through": "*", "on_error": "fail"}
    found = constants(await client.post(SCRIPT, json={**body, "against": "api", "pass_through": ["id"]}))
    assert (found["SERVICE"], found["MOST_BAD"]) == ("flora", 0)
    named = {
        "mapping": {"x": ["a", "b", "c", "d"]},
        "input": {"uri": "https://example.com/a/b.tsv", "delimiter": "tab"},
    }
    found = constants(await client.post(SCRIPT, json=named))
    assert (found["INPUT"], found["DELIMITER"], found["HAS_HEADER"]) == ("b.tsv", "\t", True)
    await client.patch("/api/v1/models/iris/versions/1", json={"features": {"x": ["a", "b", "c", "d"]}})
    found = constants(await client.post(SCRIPT))
    assert found["INPUTS"] == [("x", "FP32", ["a", "b", "c", "d"], [4])]
    whole = {"input": {"dataset": "flowers"}, "mapping": {"x": "id"}, "against": "file"}
    assert constants(await client.post(SCRIPT, json=whole))["INPUTS"] == [("x", "FP32", "id", [4])]


async def test_the_script_over_a_dataset_of_files_reads_a_folder_or_a_zip_of_it(
    client: AsyncClient, context: Context
) -> None:
    await add_dataset(context, "pictures", kind="files")
    for against in ("file", "api"):
        body = {"input": {"dataset": "pictures"}, "against": against, "pass_through": ["id"]}
        answer = await client.post(SCRIPT, json=body)
        found = constants(answer)
        assert (found["INPUT"], found["PASS_THROUGH"], found["CHUNK_ROWS"]) == ("pictures.zip", ["path"], 64)
        assert "Score the files of a folder, or of a zip of one, with iris" in answer.text
    assert (found["NAME"], found["ASKED_IN"]) == ("x", "application/json")


async def test_what_no_script_does_is_told_with_its_field(client: AsyncClient, context: Context) -> None:
    await add_dataset(context, "coming", move=None)
    await add_dataset(context, "pictures", kind="files")
    for body, status, pointer in (
        ({}, 422, "/mapping"),
        ({"pass_through": "*", "mapping": {"x": ["a", "b", "c", "d"]}}, 422, "/pass_through"),
        ({"input": {"dataset": "pictures"}, "mapping": {"y": "content"}}, 422, "/mapping/y"),
        ({"input": {"dataset": "flowers"}, "mapping": {"y": "id"}}, 422, "/mapping/y"),
        ({"input": {"dataset": "coming"}}, 409, "/input/dataset"),
        ({"input": {"dataset": "nothing"}}, 404, "/input/dataset"),
        ({"part": "de"}, 422, "/part"),
        ({"against": "cloud"}, 422, "/against"),
        ({"model": "iris"}, 422, "/model"),
    ):
        answer = await client.post(SCRIPT, json=body)
        assert answer.status_code == status, (body, answer.text)
        assert answer.json()["errors"][0]["pointer"] == pointer, body
    is_problem(await client.post("/api/v1/models/iris/versions/9:script"), 404, "not_found")
    is_problem(await client.get("/api/v1/jobs/nothing/script"), 404, "not_found")


async def test_a_script_may_be_saved_under_any_name(client: AsyncClient) -> None:
    name = 'fl"ör 花.py'
    await make_job(client, "named", file_name=name)
    answers = [
        await client.get(f"{JOBS}/named/script"),
        await client.post(
            "/api/v1/models/iris/versions/1:script", json={"file_name": name, "mapping": {"x": list("abcd")}}
        ),
    ]
    for answer, plain in zip(answers, ("named.py", "iris.py"), strict=True):
        assert answer.status_code == 200, answer.text
        told = answer.headers["content-disposition"]
        assert told == f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}"
