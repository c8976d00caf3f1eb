"""What Replicate's clients send beside our own spelling: the same submission by other paths and words."""

import asyncio
from collections.abc import Mapping

import pytest
from httpx2 import AsyncClient

from api.dependencies import Context
from core.clock import now_micros
from state.claims import take
from state.endings import fail, lock_held
from state.history import By
from state.tables import Prediction
from tests.api.catalogue import add_ready_versions, is_running, running_service
from tests.api.platform import is_problem, work_on
from tests.api.test_predictions import BODY, URL, finish_one

INPUT = {"input": BODY["inputs"]}
HOOK = {"webhook": "http://10.0.0.1/"}
OF_THE_REQUEST = {"instance": "", "request_id": ""}
BY_VERSION = "/api/v1/predictions"
BY_DEPLOYMENT = "/api/v1/deployments/anybody/iris/predictions"
PATHS: Mapping[str, Mapping[str, object]] = {BY_VERSION: {"version": "iris", **INPUT}, BY_DEPLOYMENT: INPUT}


@pytest.fixture
async def service(client: AsyncClient, context: Context) -> None:
    """A running service `iris`."""
    await add_ready_versions(context, 1)
    await running_service(client, context)


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("path", PATHS)
async def test_the_other_paths_submit_the_same(client: AsyncClient, context: Context, path: str) -> None:
    waiting = asyncio.create_task(client.post(path, json=PATHS[path], headers={"prefer": "wait=60"}))
    await finish_one(context)
    answer = await waiting
    shown = answer.json()
    assert (answer.status_code, answer.headers["preference-applied"]) == (201, "wait=60")
    assert (shown["service"], shown["input"], shown["output"]) == ("iris", BODY["inputs"], ["setosa"])
    assert answer.headers["location"] == f"http://localhost:8000/api/v1/predictions/{shown['id']}"


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("path", PATHS)
async def test_their_keys_and_refusals_are_the_same(client: AsyncClient, context: Context, path: str) -> None:
    body, key = PATHS[path], {"idempotency-key": "k"}
    first, second = [await client.post(path, json=body, headers=key) for _ in range(2)]
    assert (first.json()["id"], second.headers["idempotent-replayed"]) == (second.json()["id"], "true")
    is_problem(await client.post(path, json={**body, "colour": "red"}), 422, "unknown_field")
    is_problem(await client.post(path, json={**body, "tensors": {}}), 422, "invalid_field")
    refused = await client.post(path, json={**body, **HOOK})
    plain = await client.post(URL, json={**INPUT, **HOOK})
    assert refused.json() | OF_THE_REQUEST == plain.json() | OF_THE_REQUEST
    await client.post("/api/v1/services/iris:pause")
    await work_on(context, is_running)
    is_problem(await client.post(path, json=body), 409, "service_paused")


@pytest.mark.usefixtures("service")
async def test_a_version_that_is_no_service_is_not_found(client: AsyncClient) -> None:
    problem = is_problem(await client.post(BY_VERSION, json={"version": "wine", **INPUT}), 404, "not_found")
    assert problem["detail"] == "no service is named 'wine'; GET /api/v1/services lists them"
    missing = is_problem(await client.post(BY_VERSION, json=INPUT), 422, "invalid_field")
    assert "/version" in str(missing["errors"])
    is_problem(await client.post(BY_DEPLOYMENT.replace("iris", "wine"), json=INPUT), 404, "not_found")


@pytest.mark.usefixtures("service")
async def test_the_older_word_for_a_webhook_means_the_end_only(client: AsyncClient) -> None:
    body = {**INPUT, "stream": True, "webhook_completed": "http://127.0.0.1:9/"}
    shown = (await client.post(URL, json=body)).json()
    assert (shown["webhook"], shown["webhook_events_filter"]) == ("http://127.0.0.1:9/", ["completed"])
    both = is_problem(await client.post(URL, json={**body, "webhook": "http://127.0.0.1:9/"}), 422, "invalid_field")
    assert "exclude each other" in str(both["detail"])
    inside = {**INPUT, "webhook_completed": "http://10.0.0.1/"}
    assert "/webhook_completed" in (await client.post(URL, json=inside)).text


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize(("given", "after_s"), [("1m", 60), ("90", 90), ("5s", 5), ("1h30m45s", 5445), ("24h", 86_400)])
async def test_a_submission_may_say_when_nobody_wants_it_any_more(
    client: AsyncClient, context: Context, given: str, after_s: int
) -> None:
    before = now_micros()
    made = (await client.post(URL, json=BODY, headers={"Cancel-After": given})).json()
    async with context.database.read() as session:
        deadline_at = (await session.get_one(Prediction, made["id"])).deadline_at
    assert deadline_at is not None
    assert 0 <= deadline_at - before - after_s * 1_000_000 < 10_000_000


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("given", ["soon", "", "0s", "-1s", "25h", "1s1m", "1.5m"])
async def test_what_is_no_duration_is_refused(client: AsyncClient, given: str) -> None:
    problem = is_problem(await client.post(URL, json=BODY, headers={"Cancel-After": given}), 422, "invalid_field")
    assert "1h30m" in str(problem["detail"])


async def events(client: AsyncClient, url: str, seen: str = "0") -> list[tuple[str, ...]]:
    """Name and data of each event of a stream that has ended."""
    text = (await client.get(url, headers={"last-event-id": seen})).text
    blocks = [block.splitlines() for block in text.split("\n\n") if block]
    assert all(block[0].startswith("id: ") for block in blocks)
    return [tuple(line.partition(": ")[2] for line in block[1:]) for block in blocks]


@pytest.mark.usefixtures("service")
async def test_a_stream_tells_each_status_the_output_and_the_end(client: AsyncClient, context: Context) -> None:
    url = (await client.post(URL, json=BODY)).json()["urls"]["stream"]
    await finish_one(context)
    statuses = [("logs", "starting"), ("logs", "processing"), ("logs", "succeeded")]
    ending = [("output", '["setosa"]'), ("done", "{}")]
    assert await events(client, url) == [*statuses, *ending]
    assert await events(client, url, "2") == [statuses[2], *ending]
    assert await events(client, url, "3") == ending
    is_problem(await client.get(f"{BY_VERSION}/prd_none/stream"), 404, "not_found")


@pytest.mark.usefixtures("service")
async def test_a_stream_tells_why_there_is_no_output(client: AsyncClient, context: Context) -> None:
    url = (await client.post(URL, json=BODY)).json()["urls"]["stream"]
    taken = await take(context.database, "predict", "worker", 10_000_000)
    assert taken is not None
    async with context.database.write() as session:
        work = await lock_held(session, *taken)
        await fail(
            session, work, By("worker"), {"code": "no", "detail": "no"}, row={"error": "two\nlines", "problem": {}}
        )
    assert (await events(client, url))[-2:] == [("error", "two", "lines"), ("done", '{"reason": "error"}')]
    url = (await client.post(URL, json=BODY)).json()["urls"]["stream"]
    await client.post(url.replace("/stream", "/cancel"))
    assert (await events(client, url))[-1] == ("done", '{"reason": "canceled"}')
