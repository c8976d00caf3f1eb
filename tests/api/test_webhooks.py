"""Webhook endpoints and their delivery log (API.md section 5)."""

import base64
from dataclasses import replace

import pytest
from httpx2 import ASGITransport, AsyncClient

from api.addresses import check_webhook_url
from api.app import build_app
from api.dependencies import Context
from core.errors import InvalidField
from core.settings import Settings
from state.circuits import TRIPS_AFTER, note_failed
from state.claims import end, held, take
from state.history import By
from state.queries.rows import by_ids
from state.tables import Delivery
from tests.api.platform import add_operation, is_problem, succeeds, work_on

WEBHOOKS = "/api/v1/webhooks"
URL = "https://example.com/hook"
QUIET = ["run.failed"]  # nothing here makes one


async def _make(client: AsyncClient, **fields: object) -> str:
    answer = await client.post(WEBHOOKS, json={"url": URL, **fields})
    assert answer.status_code == 201, answer.text
    return f"{WEBHOOKS}/{answer.json()['id']}"


async def test_a_new_endpoint_shows_its_secret_once(client: AsyncClient) -> None:
    made = (await client.post(WEBHOOKS, json={"url": URL})).json()
    assert made["events"] == ["*"]
    assert made["secret"].startswith("whsec_")
    assert len(base64.b64decode(made["secret"].removeprefix("whsec_"))) == 32
    assert "secret" not in (await client.get(f"{WEBHOOKS}/{made['id']}")).json()


async def test_a_patch_changes_what_it_names_and_null_removes(client: AsyncClient) -> None:
    path = await _make(client, description="old", events=["service.running"])
    changed = (await client.patch(path, json={"description": None, "url": "https://example.org/"})).json()
    assert (changed["description"], changed["url"]) == (None, "https://example.org/")
    assert changed["events"] == ["service.running"]
    assert (await client.patch(path, json={"events": None})).json()["events"] == ["*"]
    is_problem(await client.patch(path, json={"url": None}), 422, "invalid_field")


async def test_a_deleted_endpoint_is_gone(client: AsyncClient) -> None:
    path = await _make(client)
    answer = await client.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert "operation-location" in answer.headers
    is_problem(await client.get(path), 404, "not_found")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "http://",
        "http:///path",
        "http://user:pass@example.com/",
        "http://example.com:99999/",
        "http://[::1",
        "http://exa mple.com/",
        "http://example.com/\nx",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://100.64.0.1/",
        "http://0.0.0.0/",
        "http://167772161/",
        "http://0xa.1/",
        "http://[fe80::1%25eth0]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::a00:1]/",
        "http://[2002:a00:1::]/",
        "http://224.0.0.1/",
        "https://example.com/" + "x" * 2000,
    ],
)
async def test_a_url_that_cannot_be_called_is_refused(client: AsyncClient, url: str) -> None:
    problem = is_problem(await client.post(WEBHOOKS, json={"url": url}), 422, "invalid_field")
    assert "/url" in str(problem["errors"])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1", "2130706433", "[::ffff:127.0.0.1]"])
def test_this_machine_may_be_called_only_when_bound_to_it(host: str, settings: Settings) -> None:
    url = f"http://{host}:9000/"
    check_webhook_url(url, settings, "/url")
    check_webhook_url(url, settings.model_copy(update={"host": "0.0.0.0", "allow_private_webhooks": True}), "/url")
    for closed in ({"host": "0.0.0.0"}, {"allow_private_webhooks": False}):
        with pytest.raises(InvalidField):
            check_webhook_url(url, settings.model_copy(update=closed), "/url")


async def test_an_unknown_event_is_named_with_the_nearest(client: AsyncClient) -> None:
    answer = await client.post(WEBHOOKS, json={"url": URL, "events": ["service.runing"]})
    assert "did you mean 'service.running'?" in str(is_problem(answer, 422, "invalid_field")["detail"])


async def test_events_reach_the_endpoints_that_want_them(client: AsyncClient, context: Context) -> None:
    wants = await _make(client, events=["version.ready"])
    other = await _make(client, events=["run.failed"])
    off = await _make(client, enabled=False)
    await add_operation(context)
    await work_on(context, succeeds)
    log = (await client.get(f"{wants}/deliveries")).json()["items"]
    assert [(item["event"]["type"], item["status"]) for item in log] == [("version.ready", "pending")]
    assert (await client.get(f"{other}/deliveries")).json()["items"] == []
    assert (await client.get(f"{off}/deliveries")).json()["items"] == []
    event = (await client.get(f"/api/v1/events/{log[0]['event']['id']}")).json()
    assert event["type"] == "version.ready"
    types = [item["type"] for item in (await client.get("/api/v1/events?type.prefix=version.")).json()["items"]]
    assert types == ["version.ready"]


async def test_a_change_that_is_answered_at_once_is_no_event(client: AsyncClient, context: Context) -> None:
    everything = await _make(client)
    await client.patch(everything, json={"description": "said anew"})
    assert (await client.get("/api/v1/events")).json()["items"] == []
    await add_operation(context)
    await work_on(context, succeeds)  # work that somebody waits for is one
    types = {item["event"]["type"] for item in (await client.get(f"{everything}/deliveries")).json()["items"]}
    assert types == {"version.ready", "operation.succeeded"}


async def test_an_endpoint_that_fails_tells_how_often_and_until_when_it_rests(
    client: AsyncClient, context: Context
) -> None:
    path = await _make(client, events=QUIET)
    shown = (await client.get(path)).json()
    assert (shown["failures"], shown["paused_until"]) == (0, None)
    for _ in range(TRIPS_AFTER):
        async with context.database.write() as session:
            await note_failed(session, shown["id"])
    test = (await client.post(f"{path}:test")).json()
    assert test["waiting_for"] is None  # it was asked for, and goes at once
    for listed in ((await client.get(path)).json(), (await client.get(WEBHOOKS)).json()["items"][0]):
        assert listed["failures"] == TRIPS_AFTER
        assert listed["paused_until"] > listed["updated_at"]
    changed = (await client.patch(path, json={"url": "https://example.org/"})).json()
    assert (changed["failures"], changed["paused_until"]) == (0, None)


async def test_a_test_event_goes_to_this_endpoint_alone(client: AsyncClient) -> None:
    path, other = await _make(client, events=QUIET), await _make(client, events=QUIET)
    answer = await client.post(f"{path}:test")
    assert (answer.status_code, answer.json()["event"]["type"]) == (201, "webhook.test")
    assert (await client.get(answer.headers["location"])).json() == answer.json()
    assert (await client.get(f"{other}/deliveries")).json()["items"] == []


async def _deliver(context: Context, delivery_id: str) -> None:
    taken = await take(context.database, "deliver", "worker", 10_000_000)
    assert taken is not None
    assert taken[0].id == delivery_id
    async with context.database.write() as session:
        await end(session, await held(session, taken[0]), "fail", By("worker"))


async def test_a_finished_delivery_is_sent_again_with_the_same_id(client: AsyncClient, context: Context) -> None:
    path = await _make(client, events=QUIET)
    delivery = (await client.post(f"{path}:test")).json()
    again = f"{path}/deliveries/{delivery['id']}:redeliver"
    is_problem(await client.post(again), 409, "illegal_move")
    await _deliver(context, delivery["id"])
    await client.patch(path, json={"url": "https://example.org/new"})
    answer = await client.post(again)
    assert (answer.status_code, answer.json()["id"], answer.json()["status"]) == (200, delivery["id"], "pending")
    assert answer.json()["url"] == "https://example.org/new"


async def test_a_range_of_failed_deliveries_is_sent_again(client: AsyncClient, context: Context) -> None:
    path = await _make(client, events=QUIET)
    delivery = (await client.post(f"{path}:test")).json()
    await _deliver(context, delivery["id"])
    answer = await client.post(f"{path}:redeliver", json={"since": delivery["created_at"]})
    assert answer.json()["kind"] == "webhook.redeliver"
    async with context.database.read() as session:
        rows = await by_ids(session, Delivery, [delivery["id"]])
    assert rows[delivery["id"]].status == "pending"
    is_problem(await client.post(f"{path}:redeliver", json={"since": "yesterday"}), 422, "invalid_field")


async def test_a_rotated_secret_leaves_the_old_one_valid_for_a_day(client: AsyncClient) -> None:
    made = (await client.post(WEBHOOKS, json={"url": URL})).json()
    rotated = (await client.post(f"{WEBHOOKS}/{made['id']}:rotate-secret")).json()
    assert rotated["secret"] not in ("", made["secret"])
    assert rotated["old_secret_until"] > made["created_at"]


async def test_the_default_secret_is_read_back_as_replicate_has_it(client: AsyncClient) -> None:
    body = (await client.get(f"{WEBHOOKS}/default/secret")).json()
    assert list(body) == ["key"]
    assert body["key"].startswith("whsec_")


async def test_secrets_are_never_stored_in_clear(client: AsyncClient, settings: Settings) -> None:
    secret = (await client.post(WEBHOOKS, json={"url": URL})).json()["secret"].removeprefix("whsec_")
    files = [file for file in settings.data.rglob("*") if file.is_file()]
    assert files
    assert not any(secret.encode() in file.read_bytes() for file in files)


async def test_links_use_the_public_url(settings: Settings, context: Context) -> None:
    public = replace(context, settings=settings.model_copy(update={"public_url": "https://ml.example.com/"}))
    async with AsyncClient(transport=ASGITransport(build_app(public)), base_url="http://localhost") as client:
        answer = await client.post(WEBHOOKS, json={"url": URL})
    assert answer.headers["location"].startswith("https://ml.example.com/api/v1/webhooks/")
