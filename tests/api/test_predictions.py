"""Durable predictions: submitted, waited for, canceled; bad submissions are told while somebody listens."""

import asyncio
import hashlib
import json

import pytest
from httpx2 import AsyncClient
from sqlalchemy import update

from api.dependencies import Context
from api.schemas.predictions import PredictionPage, PredictionShown
from state.claims import take
from state.endings import lock_held, succeed
from state.history import By
from state.tables import Prediction
from tests.api.catalogue import add_ready_versions, is_running, left_behind, running_service
from tests.api.platform import add_user, is_problem, work_on

URL = "/api/v1/services/iris/predictions"
BODY = {"inputs": {"x": [1, 2, 3, 4]}}
CSV = {"content-type": "text/csv; charset=utf-8"}
FORM = {"content-type": "multipart/form-data; boundary=XX"}
FIELDS = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def service(client: AsyncClient, context: Context) -> None:
    """A running service `iris`."""
    await add_ready_versions(context, 1)
    await running_service(client, context)


async def begin_one(context: Context) -> Prediction:
    """A worker takes the next prediction."""
    taken = await take(context.database, "predict", "worker", 10_000_000)
    assert taken is not None
    assert isinstance(taken[1], Prediction)
    return taken[1]


async def finish_one(context: Context) -> None:
    """A worker takes the next prediction, as soon as there is one, and has its answer."""
    while (taken := await take(context.database, "predict", "worker", 10_000_000)) is None:
        await asyncio.sleep(0.01)
    async with context.database.write() as session:
        work = await lock_held(session, *taken)
        await succeed(session, work, By("worker"), result={}, row={"output": ["setosa"]}, target={})


@pytest.mark.usefixtures("service")
async def test_a_submission_is_accepted_and_can_be_looked_at(client: AsyncClient) -> None:
    answer = await client.post(URL, json=BODY)
    assert answer.status_code == 202
    shown = PredictionShown.model_validate(answer.json())
    assert (shown.status, shown.input, shown.model, shown.version) == ("starting", BODY["inputs"], "iris", "1")
    assert answer.headers["location"] == shown.urls["get"] == f"http://localhost:8000/api/v1/predictions/{shown.id}"
    again = await client.get(shown.urls["get"])
    assert (again.json(), again.headers["retry-after"]) == (answer.json(), "1")


@pytest.mark.usefixtures("service")
async def test_a_preferred_wait_answers_with_the_final_prediction(client: AsyncClient, context: Context) -> None:
    waiting = asyncio.create_task(client.post(URL, json=BODY, headers={"prefer": "wait=60"}))
    await finish_one(context)
    answer = await waiting
    assert (answer.status_code, answer.json()["status"], answer.json()["output"]) == (201, "succeeded", ["setosa"])
    assert answer.headers["preference-applied"] == "wait=60"


@pytest.mark.usefixtures("service")
async def test_a_wait_that_is_over_answers_the_unfinished_prediction(client: AsyncClient) -> None:
    answer = await client.post(URL, json=BODY, headers={"prefer": "wait=1"})
    assert (answer.status_code, answer.json()["status"]) == (202, "starting")
    answer = await client.get(f"/api/v1/predictions/{answer.json()['id']}:wait?timeout=0")
    assert answer.json()["status"] == "starting"


@pytest.mark.usefixtures("service")
async def test_input_is_an_alias_and_the_other_spellings_are_kept(client: AsyncClient) -> None:
    assert (await client.post(URL, json={"input": {"x": 1}})).json()["input"] == {"x": 1}
    assert (await client.post(URL, json={"input": [{"x": 1}]})).json()["input"] == {"inputs": [{"x": 1}]}
    table = {"columns": ["a"], "data": [[1], [2]]}
    assert (await client.post(URL, json=table)).json()["input"] == table
    assert (await client.post(URL, json={"tensors": {"x": [[1]]}})).json()["input"] == {"tensors": {"x": [[1]]}}


BAD = {
    "nothing": ({}, "/inputs"),
    "null": ({"inputs": None}, "/inputs"),
    "text": ({"inputs": "x"}, None),
    "two spellings": ({"inputs": {}, "tensors": {}}, "/tensors"),
    "an alias twice": ({"inputs": {}, "input": {}}, "/input"),
    "columns alone": ({"columns": ["a"]}, "/data"),
    "data alone": ({"data": [[1]]}, "/columns"),
    "an unknown field": ({**BODY, "webhok": "x"}, "/webhok"),
    "a webhook that is no URL": ({**BODY, "webhook": "ftp://example.com"}, "/webhook"),
    "a webhook to a private address": ({**BODY, "webhook": "http://10.0.0.1/x"}, "/webhook"),
    "a webhook to the cloud's metadata": ({**BODY, "webhook": "http://169.254.169.254/"}, "/webhook"),
    "an unknown event": ({**BODY, "webhook_events_filter": ["done"]}, "/webhook_events_filter/0"),
    "a list": ([], ""),
}


NO_JSON = (b"", b"{", b"[" * 10_000, b'{"inputs": NaN}', b'{"inputs": {"x": 1e999}}', b'{"inputs": {"x": "\\u0000"}}')


@pytest.mark.usefixtures("service")
async def test_each_bad_submission_is_refused_with_its_field(client: AsyncClient) -> None:
    for case, (body, pointer) in BAD.items():
        answer = await client.post(URL, json=body)
        assert answer.status_code == 422, (case, answer.text)
        if pointer is not None:
            assert [error["pointer"] for error in answer.json()["errors"]] == [pointer], case
    for content in NO_JSON:
        answer = await client.post(URL, content=content, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422), (content[:50], answer.text)
    assert (await client.get("/api/v1/predictions")).json()["results"] == []


@pytest.mark.usefixtures("service")
async def test_a_large_input_lies_in_the_store_and_not_in_the_row(client: AsyncClient, context: Context) -> None:
    answer = await client.post(URL, json={"inputs": {"x": ["1234567890"] * 6_000}})
    assert answer.status_code == 202, answer.text
    assert answer.json()["input"] is None
    row = await begin_one(context)
    assert row.body is None
    assert row.body_digest in await left_behind(context)


@pytest.mark.usefixtures("service")
async def test_what_has_not_begun_is_canceled_at_once(client: AsyncClient) -> None:
    for verb in ("/cancel", ":cancel"):
        made = (await client.post(URL, json=BODY)).json()
        canceled = await client.post(f"/api/v1/predictions/{made['id']}{verb}")
        assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
        again = await client.post(f"/api/v1/predictions/{made['id']}{verb}")
        assert again.json() == canceled.json()


@pytest.mark.usefixtures("service")
async def test_the_worker_is_asked_to_drop_what_has_begun(client: AsyncClient, context: Context) -> None:
    made = (await client.post(URL, json=BODY)).json()
    row = await begin_one(context)
    asked = await client.post(f"/api/v1/predictions/{made['id']}/cancel")
    assert asked.json()["status"] == "processing"
    async with context.database.read() as session:
        found = await session.get_one(Prediction, row.id)
    assert found.cancel_requested


@pytest.mark.usefixtures("service")
async def test_a_key_makes_one_prediction(client: AsyncClient) -> None:
    key = {"idempotency-key": "k"}
    first, second = [await client.post(URL, json=BODY, headers=key) for _ in range(2)]
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["idempotent-replayed"] == "true"
    is_problem(await client.post(URL, json={"inputs": {}}, headers=key), 422, "idempotency_key_reused")


@pytest.mark.usefixtures("service")
async def test_a_client_may_choose_the_id_and_join_its_prediction(client: AsyncClient, context: Context) -> None:
    first = await client.put(f"{URL}/prd_mine-1", json=BODY)
    assert (first.status_code, first.json()["id"]) == (202, "prd_mine-1")
    await finish_one(context)
    joined = await client.put(f"{URL}/prd_mine-1", json=BODY)
    assert (joined.status_code, joined.json()["status"]) == (201, "succeeded")
    is_problem(await client.put(f"{URL}/mine", json=BODY), 422, "invalid_field")
    other = await add_user(context, "acme", "eve")
    assert (await client.get("/api/v1/predictions/prd_mine-1", headers=other)).status_code == 404


@pytest.mark.usefixtures("service")
async def test_an_id_of_the_clients_belongs_to_one_body(client: AsyncClient) -> None:
    url = f"{URL}/prd_mine"
    body = {"inputs": {"x": 1, "y": 2}, "webhook": "https://example.com/hook"}
    first = await client.put(url, json=body)
    assert first.status_code == 202
    same = {"webhook": "https://example.com/hook", "inputs": {"y": 2, "x": 1}}
    assert (await client.put(url, json=same)).json() == first.json()
    for other in ({**body, "inputs": {"x": 1}}, {"inputs": body["inputs"]}):
        is_problem(await client.put(url, json=other), 409, "id_taken")
    is_problem(await client.put(f"{url}?on_error=record", json=body), 409, "id_taken")
    is_problem(await client.put(url, content="x,y\n1,2\n", headers=CSV), 409, "id_taken")


@pytest.mark.usefixtures("service")
async def test_a_form_is_the_same_whatever_boundary_its_client_drew(client: AsyncClient) -> None:
    url = f"{URL}/prd_form"
    for boundary, x, status in (("abc", 1, 202), ("xyz", 1, 202), ("abc", 2, 409)):
        form = f'--{boundary}\r\nContent-Disposition: form-data; name="x"\r\n\r\n{x}\r\n--{boundary}--\r\n'
        headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
        answer = await client.put(url, content=form, headers=headers)
        assert answer.status_code == status, (boundary, x, answer.text)
    assert (await client.put(url, content="x=1", headers=FIELDS)).status_code == 409


@pytest.mark.usefixtures("service")
async def test_an_id_of_a_release_that_kept_no_digest_is_joined_as_before(
    client: AsyncClient, context: Context
) -> None:
    await client.put(f"{URL}/prd_old", json=BODY)
    async with context.database.write() as session:
        await session.execute(update(Prediction).values(request_sha256=None))
    assert (await client.put(f"{URL}/prd_old", json={"inputs": {"x": 0}})).status_code == 202


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("url", [URL, "/api/v1/deployments/me/iris/predictions"])
async def test_rows_and_forms_are_accepted_as_they_are(client: AsyncClient, context: Context, url: str) -> None:
    for sent, content in ((CSV, b"x\n\xc3\xa9\n"), (FORM, b"--XX--\r\n"), (FIELDS, b"x=1")):
        answer = await client.post(url, content=content, headers=sent)
        assert (answer.status_code, answer.json()["input"]) == (202, None), answer.text
        row = await begin_one(context)
        assert (row.body, row.options) == (None, {"content_type": sent["content-type"]})
        assert row.body_digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert row.body_digest in await left_behind(context)
    as_curl_does = await client.post(url, content=json.dumps(BODY), headers=FIELDS)
    assert as_curl_does.json()["input"] == BODY["inputs"]


@pytest.mark.usefixtures("service")
async def test_what_is_to_be_done_about_bad_records_is_kept_and_nothing_else_is_asked(
    client: AsyncClient, context: Context
) -> None:
    assert (await client.post(f"{URL}?on_error=record", json=BODY)).status_code == 202
    assert (await begin_one(context)).options == {"on_error": "record"}
    assert (await client.post(f"{URL}?on_error=fail", json=BODY)).status_code == 202
    assert (await begin_one(context)).options is None
    by_version = await client.post("/api/v1/predictions?on_error=record", json={**BODY, "version": "iris"})
    assert by_version.status_code == 202
    assert (await begin_one(context)).options == {"on_error": "record"}
    is_problem(await client.post(f"{URL}?on_error=ignore", json=BODY), 422, "invalid_field")
    is_problem(
        await client.post(URL, content=b"x", headers={"content-type": "image/png"}), 415, "unsupported_media_type"
    )


@pytest.mark.usefixtures("service")
async def test_rows_have_the_limit_and_the_keys_of_any_body(client: AsyncClient, context: Context) -> None:
    limit = context.settings.max_body_bytes
    is_problem(await client.post(URL, content=b"x" * (limit + 1), headers=CSV), 413, "too_large")
    key = {**CSV, "idempotency-key": "rows"}
    first, second = [await client.post(URL, content=b"x\n1\n", headers=key) for _ in range(2)]
    assert first.json()["id"] == second.json()["id"]
    is_problem(await client.post(URL, content=b"x\n2\n", headers=key), 422, "idempotency_key_reused")
    is_problem(
        await client.post(f"{URL}?on_error=record", content=b"x\n1\n", headers=key), 422, "idempotency_key_reused"
    )


@pytest.mark.usefixtures("service")
async def test_predictions_are_listed_as_replicate_lists_them(client: AsyncClient) -> None:
    made = [(await client.post(URL, json=BODY)).json()["id"] for _ in range(3)]
    page = await listed(client, "/api/v1/predictions?service=iris&page_size=2")
    assert [prediction.id for prediction in page.results] == made[:0:-1]
    assert (page.previous, page.next is None) == (None, False)
    rest = await listed(client, page.next)
    assert ([prediction.id for prediction in rest.results], rest.next) == (made[:1], None)
    assert await listed(client, rest.previous) == page
    assert (await client.get("/api/v1/predictions?service=wine")).json()["results"] == []
    is_problem(await client.get("/api/v1/predictions?colour=red"), 422, "unknown_field")


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("order", ["created_at", "-created_at"])
async def test_a_list_is_walked_forwards_and_back_over_the_same_pages(client: AsyncClient, order: str) -> None:
    for _ in range(5):
        await client.post(URL, json=BODY)
    url: str | None = f"/api/v1/predictions?service.prefix=ir&page_size=2&count=true&order_by={order}"
    pages = []
    while url is not None:
        pages.append(await listed(client, url))
        url = pages[-1].next
    assert ([len(page.results) for page in pages], {page.total for page in pages}) == ([2, 2, 1], {5})
    assert await listed(client, pages[2].previous) == pages[1]
    assert await listed(client, pages[1].previous) == pages[0]


@pytest.mark.usefixtures("service")
async def test_when_the_page_before_is_gone_the_list_begins_anew(client: AsyncClient, context: Context) -> None:
    for _ in range(3):
        await client.post(URL, json=BODY)
    first = await listed(client, "/api/v1/predictions?page_size=1")
    second = await listed(client, first.next)
    async with context.database.write() as session:
        await session.delete(await session.get_one(Prediction, first.results[0].id))
    again = await listed(client, second.previous)
    assert (again.results, again.previous, again.next) == (second.results, None, second.next)


async def listed(client: AsyncClient, url: str | None) -> PredictionPage:
    """The page at this URL."""
    assert url is not None
    answer = await client.get(url)
    assert answer.status_code == 200, answer.text
    return PredictionPage.model_validate(answer.json())


async def test_a_service_that_does_not_answer_refuses_submissions(client: AsyncClient, context: Context) -> None:
    is_problem(await client.post(URL, json=BODY), 404, "not_found")
    await add_ready_versions(context, 1)
    await running_service(client, context)
    await client.post("/api/v1/services/iris:pause")
    await work_on(context, is_running)
    problem = is_problem(await client.post(URL, json=BODY), 409, "service_paused")
    assert problem["resume"] == "/api/v1/services/iris:resume"
    await client.delete("/api/v1/services/iris")
    is_problem(await client.post(URL, json=BODY), 409, "conflict")


@pytest.mark.usefixtures("service")
async def test_its_changes_are_streamed_until_it_ends(client: AsyncClient, context: Context) -> None:
    made = (await client.post(URL, json=BODY)).json()
    await finish_one(context)
    text = (await client.get(f"{made['urls']['get']}/events")).text
    assert [line for line in text.splitlines() if line.startswith("event: ")] == ["event: status"] * 3 + ["event: done"]
    is_problem(await client.get("/api/v1/predictions/prd_none/events"), 404, "not_found")
