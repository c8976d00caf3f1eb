"""Every route that changes something honours Idempotency-Key and `read_only`: asked of the routes themselves."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping

import pytest
from httpx2 import AsyncClient, Response

from api.dependencies import Context
from core.clock import now_micros, rfc3339
from core.settings import Settings
from tests.api.catalogue import ONNX
from tests.api.platform import is_problem, open_context
from tests.api.world import BODIES, V1, Made, mutations, path_of

STREAMED = ("upload_version", "create_file", "create_dataset", "put_dataset_file", "put_upload_part")


def test_each_mutation_is_tried_here() -> None:
    assert set(BODIES) == set(mutations())


@pytest.fixture
def world(made: Made, settings: Settings) -> Mapping[str, str]:
    """What there is in the test's own database."""
    shutil.copy(made.file, settings.data / "portside.db")
    return made.names


@pytest.fixture
async def context(settings: Settings, world: Mapping[str, str]) -> AsyncIterator[Context]:
    """Opened after the copy."""
    async with open_context(settings) as opened:
        yield opened


async def _send(
    client: AsyncClient, operation_id: str, world: Mapping[str, str], query: str = "", key: str | None = "once"
) -> Response:
    method, template = mutations()[operation_id]
    body = BODIES[operation_id]
    headers = {"Prefer": "respond-async"}  # nobody works here: an answer that waits by itself would wait for nothing
    headers |= {} if key is None else {"Idempotency-Key": key}
    content: bytes | None = None
    if isinstance(body, bytes):
        kind = "multipart/form-data; boundary=b" if body.startswith(b"--b") else "application/octet-stream"
        content, headers = body, {**headers, "content-type": kind}
    elif body is not None:
        text = json.dumps(body).replace("{failed}", world["failed"]).replace("{queued}", world["queued"])
        content, headers = text.encode(), {**headers, "content-type": "application/json"}
    path = path_of(operation_id, template, world)
    return await client.request(method, path + query, content=content, headers=headers)


@pytest.mark.parametrize("operation_id", sorted(BODIES))
async def test_the_same_key_is_done_once_and_answered_alike(
    client: AsyncClient, world: Mapping[str, str], operation_id: str
) -> None:
    began = now_micros()
    answers = await asyncio.gather(*(_send(client, operation_id, world) for _ in range(3)))
    answers.append(await _send(client, operation_id, world))
    streamed = [answer for answer in answers if answer.status_code != 409]
    assert all(answer.status_code < 300 for answer in streamed), [answer.text for answer in answers]
    fresh = [answer for answer in streamed if "idempotent-replayed" not in answer.headers]
    assert len(fresh) == 1
    assert len({answer.status_code for answer in streamed}) == 1
    named = {answer.headers.get("operation-location") or answer.json()["id"] for answer in streamed}
    assert len(named) == 1
    # Only an upload tells its duplicates to come again: its body streams.
    assert operation_id in STREAMED or len(streamed) == 4
    audit = f"{V1}/operations?count=true&page_size=1&created_at.ge={rfc3339(began)}&kind.not.prefix=batch."
    assert (await client.get(audit)).json()["total"] <= 1


async def test_nothing_is_changed_while_everything_is_read_only(
    client: AsyncClient, context: Context, world: Mapping[str, str]
) -> None:
    await client.put(f"{V1}/system/switches/read_only", json={"reason": "the disk is moved"})
    await context.switches.refresh()
    for operation_id in sorted(set(BODIES) - {"switch_off", "switch_on"}):
        answer = await _send(client, operation_id, world, key=None)
        problem = is_problem(answer, 503, "read_only")
        assert (problem["reason"], answer.headers["retry-after"]) == ("the disk is moved", "60")
    assert (await _send(client, "switch_off", world, key=None)).status_code == 200
    assert (await client.delete(f"{V1}/system/switches/read_only")).status_code == 204
    await context.switches.refresh()
    assert (await _send(client, "update_model", world, key=None)).status_code == 200


async def test_a_key_with_another_query_is_another_request(client: AsyncClient, world: Mapping[str, str]) -> None:
    assert (await _send(client, "delete_model", world, "?cascade=true")).status_code == 204
    assert (await _send(client, "delete_model", world, "?cascade=true")).headers["idempotent-replayed"] == "true"
    is_problem(await _send(client, "delete_model", world, "?cascade=false"), 422, "idempotency_key_reused")
    is_problem(await _send(client, "delete_model", world), 422, "idempotency_key_reused")


async def test_a_large_input_is_stored_once_for_all_duplicates(
    client: AsyncClient, context: Context, world: Mapping[str, str]
) -> None:
    body = {"inputs": {"x": [1] * 40_000}}
    path, headers = f"{V1}/services/iris/predictions", {"Idempotency-Key": "large"}
    answers = await asyncio.gather(*(client.post(path, json=body, headers=headers) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len([digest async for digest in context.store.list()]) == 1
    # A replay needs neither the store nor a service that takes new ones.
    await client.post(f"{V1}/services/iris:pause")
    again = await client.post(path, json=body, headers=headers)
    assert (again.status_code, again.json()["id"]) == (202, answers[0].json()["id"])


async def test_a_form_is_the_same_upload_whatever_its_boundary(client: AsyncClient) -> None:
    ids = set()
    for _ in range(2):
        files = {"file": ("iris.onnx", ONNX)}
        answer = await client.post(
            f"{V1}/models/iris/versions", files=files, data={"description": "d"}, headers={"Idempotency-Key": "form"}
        )
        assert answer.status_code == 202, answer.text
        ids.add(answer.json()["id"])
    assert len(ids) == 1
