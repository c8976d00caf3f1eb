"""Every error is a problem document that names what is wrong and what to do (RFC 9457)."""

import json
import logging
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient
from pydantic import BaseModel, ValidationError

from api.app import build_app
from api.dependencies import Context
from api.routing import read_json
from api.schemas.models import ModelCreate
from api.schemas.predictions import PredictionCreate
from api.schemas.services import ServicePatch
from api.schemas.webhooks import WebhookCreate
from core.errors import MalformedBody
from tests.api.platform import is_problem

WEBHOOKS = "/api/v1/webhooks"
JSON = {"Content-Type": "application/json"}


async def test_an_unknown_path_is_a_problem_even_for_browsers(client: AsyncClient) -> None:
    answer = await client.get("/api/v1/nothing", headers={"Accept": "text/html"})
    assert is_problem(answer, 404, "unknown_path")["instance"] == "/api/v1/nothing"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "BREW"])
async def test_a_method_that_does_not_exist_answers_with_those_that_do(client: AsyncClient, method: str) -> None:
    answer = await client.request(method, WEBHOOKS)
    is_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, POST, OPTIONS"


async def test_options_tells_the_methods(client: AsyncClient) -> None:
    answer = await client.options(f"{WEBHOOKS}/whk_1")
    assert answer.status_code == 204
    assert answer.headers["allow"] == "GET, HEAD, PATCH, DELETE, OPTIONS"


async def test_head_answers_as_get_without_a_body(client: AsyncClient) -> None:
    answer = await client.head(WEBHOOKS)
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


async def test_a_verb_that_does_not_exist_is_not_taken_for_an_id(client: AsyncClient) -> None:
    is_problem(await client.post("/api/v1/operations/op_1:explode"), 404, "unknown_path")
    is_problem(await client.get("/api/v1/operations/op_1:explode"), 404, "unknown_path")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"url": ', "line 1, column 9"),
        (b'{"url": NaN}', "NaN"),
        (b"[" * 10_000, "nested"),
        (b'{"url":' * 10_000, "nested"),
        (b'{"url": "\xff"}', "Unicode"),
        (b'{"url": "\\ud800"}', "Unicode"),
        (b'{"description": "\\u0000"}', "NUL"),
        (b'{"url": ' + b"9" * 5_000 + b"}", "digits"),
    ],
)
async def test_a_body_that_is_not_json_is_told_where(client: AsyncClient, body: bytes, words: str) -> None:
    problem = is_problem(await client.post(WEBHOOKS, content=body, headers=JSON), 400, "malformed_body")
    assert words in str(problem["detail"])


async def test_an_unknown_field_is_named_with_the_nearest_known_one(client: AsyncClient) -> None:
    answer = await client.post(WEBHOOKS, json={"url": "https://example.com/", "evnts": ["*"]})
    problem = is_problem(answer, 422, "unknown_field")
    assert problem["errors"] == [
        {"pointer": "/evnts", "detail": "there is no field 'evnts' here", "hint": "did you mean 'events'?"}
    ]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": 7}, "/url"),
        ({"url": "https://example.com/", "enabled": "yes"}, "/enabled"),
        ({"url": "https://example.com/", "events": "service.running"}, "/events"),
        ({"url": "https://example.com/", "events": [1]}, "/events/0"),
        ([], ""),
        ("text", ""),
        (None, ""),
    ],
)
async def test_a_wrong_type_is_named_by_its_pointer(client: AsyncClient, body: object, pointer: str) -> None:
    problem = is_problem(await client.post(WEBHOOKS, json=body), 422, "invalid_field")
    errors = problem["errors"]
    assert isinstance(errors, list)
    assert errors[0]["pointer"] == pointer


async def test_a_missing_body_is_a_problem(client: AsyncClient) -> None:
    is_problem(await client.post(WEBHOOKS), 422, "invalid_field")


async def test_a_body_of_another_type_is_refused(client: AsyncClient) -> None:
    answer = await client.post(
        WEBHOOKS, content=b"url=x", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    is_problem(answer, 415, "unsupported_media_type")


async def test_a_body_without_a_content_type_is_read_as_json(client: AsyncClient) -> None:
    answer = await client.post(WEBHOOKS, content=b'{"url": "https://example.com/"}')
    assert answer.status_code == 201


async def test_a_body_that_is_too_large_is_refused_by_its_announcement_and_while_it_streams(
    client: AsyncClient,
) -> None:
    body = b'{"url": "' + b"x" * 200_000 + b'"}'

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]

    is_problem(await client.post(WEBHOOKS, content=body, headers=JSON), 413, "too_large")
    problem = is_problem(await client.post(WEBHOOKS, content=pieces(), headers=JSON), 413, "too_large")
    assert problem["limit_bytes"] == 100_000


async def test_an_unknown_query_parameter_is_named(client: AsyncClient) -> None:
    problem = is_problem(await client.get("/api/v1/me?verbose=1"), 422, "unknown_field")
    assert "verbose" in str(problem["detail"])


async def test_a_nul_in_a_path_finds_nothing(client: AsyncClient) -> None:
    is_problem(await client.get(f"{WEBHOOKS}/a%00b"), 404, "unknown_path")


async def test_ten_thousand_characters_in_a_path_find_nothing(client: AsyncClient) -> None:
    is_problem(await client.get(f"{WEBHOOKS}/{'a' * 10_000}"), 404, "not_found")


async def test_a_request_id_is_kept_if_it_is_sane(client: AsyncClient) -> None:
    assert (await client.get("/healthz", headers={"X-Request-Id": "mine-1"})).headers["x-request-id"] == "mine-1"
    assert (await client.get("/healthz", headers={"X-Request-Id": "a b"})).headers["x-request-id"].startswith("req_")


async def test_a_bug_is_a_500_that_leaks_nothing_and_is_logged_once(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    app: FastAPI = build_app(context)

    async def broken() -> None:
        raise ZeroDivisionError("the password is tiger")

    app.add_api_route("/broken", broken)
    async with AsyncClient(transport=ASGITransport(app), base_url="http://localhost") as client:
        with caplog.at_level(logging.ERROR):
            answer = await client.get("/broken")
    is_problem(answer, 500, "internal_error")
    assert "tiger" not in answer.text
    assert len([record for record in caplog.records if record.exc_info]) == 1


MANY = 300_000


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        (ModelCreate, {f"k{number}": 1 for number in range(MANY)}),
        (ModelCreate, {"name": "a", "tags": [1] * MANY}),
        (WebhookCreate, {"url": "http://localhost/", "events": [1] * MANY}),
        (ServicePatch, {"env": dict.fromkeys(map(str, range(MANY)), 1)}),
        (ServicePatch, {"resources": dict.fromkeys(map(str, range(MANY)), 1)}),
        (PredictionCreate, {"columns": [1] * MANY, "data": []}),
        (PredictionCreate, {"inputs": {}, "webhook_events_filter": [1] * MANY}),
    ],
)
def test_a_myriad_of_faults_is_not_counted_to_its_end(schema: type[BaseModel], document: object) -> None:
    """With an error kept for each, 16 MB of JSON once took eight gigabytes and minutes of the event loop."""
    with pytest.raises(ValidationError) as caught:
        schema.model_validate(document)
    assert caught.value.error_count() <= 25


async def test_a_verbs_path_tells_its_method(client: AsyncClient) -> None:
    response = await client.get("/api/v1/services/iris:pause")
    is_problem(response, 405, "method_not_allowed")
    assert "POST" in response.headers["allow"]


@pytest.mark.parametrize("number", [b"1e999", b"-1E+400", b"9" * 400 + b".0", b"9" * 250 + b"e99", b"1e0000400"])
def test_a_number_beyond_a_double_is_refused(number: bytes) -> None:
    with pytest.raises(MalformedBody):
        read_json(b'{"a": [1.5, ' + number + b"]}")


@pytest.mark.parametrize("number", [b"1e99", b"1e-400", b"9" * 250, b"0." + b"1" * 400, b"1e308"])
def test_a_number_that_a_double_can_hold_is_read(number: bytes) -> None:
    assert read_json(b'{"a": ' + number + b"}") == {"a": json.loads(number)}
