"""One verb for many: by ids or by the filters of the list, tried first, told one by one (API.md section 2)."""

import asyncio

import pytest
from httpx2 import AsyncClient
from sqlalchemy import insert

from api.dependencies import Context
from api.schemas.batches import BatchShown
from core.clock import now_micros
from state.claims import take
from state.tables import Operation
from tests.api.catalogue import add_ready_versions, is_running, running_service
from tests.api.platform import LOCAL, add_operation, add_user, fails, is_problem, succeeds, work_on

V1 = "/api/v1"
RETRY = f"{V1}/operations:retry"
PAUSE = f"{V1}/services:pause"
CANCEL = f"{V1}/predictions:cancel"
INPUT = {"inputs": {"x": [1, 2, 3, 4]}}


async def ask(client: AsyncClient, path: str, **body: object) -> BatchShown:
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return BatchShown.model_validate(answer.json())


def outcomes(shown: BatchShown) -> list[str]:
    return [item.outcome for item in shown.items]


async def failed_operations(context: Context, count: int) -> list[str]:
    made = []
    for number in range(count):
        made.append((await add_operation(context, f"m{number}")).id)
        await work_on(context, fails)
    return made


async def status_of(client: AsyncClient, operation_id: str) -> str:
    return str((await client.get(f"{V1}/operations/{operation_id}")).json()["status"])


async def test_each_is_told_for_itself_and_one_that_fails_stops_no_other(client: AsyncClient, context: Context) -> None:
    failed = await failed_operations(context, 2)
    done = (await add_operation(context, "done")).id
    await work_on(context, succeeds)
    queued = (await add_operation(context, "queued")).id
    shown = await ask(client, RETRY, ids=[failed[0], done, "op_none", queued, failed[1]])
    assert outcomes(shown) == ["accepted", "failed", "failed", "unchanged", "accepted"]
    assert (shown.accepted, shown.unchanged, shown.failed, shown.has_more) == (2, 1, 2, False)
    assert [item.error["code"] for item in shown.items if item.error] == ["illegal_move", "not_found"]
    assert shown.items[0].operation == f"http://localhost:8000{V1}/operations/{failed[0]}"
    assert [await status_of(client, id) for id in failed] == ["queued", "queued"]


async def test_a_dry_run_tells_the_same_and_changes_nothing(client: AsyncClient, context: Context) -> None:
    failed = await failed_operations(context, 2)
    headers = {"Idempotency-Key": "one"}
    tried = await client.post(RETRY, json={"ids": [*failed, "op_none"], "dry_run": True}, headers=headers)
    assert [item["outcome"] for item in tried.json()["items"]] == ["accepted", "accepted", "failed"]
    assert [await status_of(client, id) for id in failed] == ["failed", "failed"]
    # It takes no key: the same one may then be used in earnest.
    done = await client.post(RETRY, json={"ids": failed}, headers=headers)
    assert (done.status_code, done.json()["accepted"]) == (200, 2)


async def test_a_filter_means_those_that_the_verb_can_change(client: AsyncClient, context: Context) -> None:
    failed = await failed_operations(context, 2)
    await add_operation(context, "queued")
    shown = await ask(client, RETRY, filter={"kind": "version.inspect", "target_type.in": ["version", "service"]})
    assert [item.id for item in shown.items] == failed
    assert outcomes(await ask(client, RETRY, filter={"kind": "version.inspect"})) == []


async def test_operations_are_canceled_together(client: AsyncClient, context: Context) -> None:
    queued = [(await add_operation(context, name)).id for name in ("a", "b")]
    shown = await ask(client, f"{V1}/operations:cancel", filter={"status": "queued"})
    assert [item.id for item in shown.items] == queued
    assert [await status_of(client, id) for id in queued] == ["canceled", "canceled"]
    assert outcomes(await ask(client, f"{V1}/operations:cancel", ids=queued)) == ["unchanged", "unchanged"]


async def test_services_are_paused_and_resumed_by_names_ids_and_their_model(
    client: AsyncClient, context: Context
) -> None:
    await add_ready_versions(context, 1)
    for name in ("one", "two", "three"):
        await running_service(client, context, name)
    id_of_two = (await client.get(f"{V1}/services/two")).json()["id"]
    shown = await ask(client, PAUSE, ids=["one", id_of_two, "two", "nowhere"])
    assert outcomes(shown) == ["accepted", "accepted", "failed"]  # the same one twice is one
    assert shown.items[1].id == id_of_two
    operation = (await client.get(shown.items[0].operation or "")).json()
    assert (operation["kind"], operation["target"]["name"]) == ("service.pause", "one")
    shown = await ask(client, PAUSE, filter={"model": "iris"})
    assert outcomes(shown) == ["accepted"]
    for _ in range(3):
        await work_on(context, is_running)
    assert outcomes(await ask(client, PAUSE, ids=["one"])) == ["unchanged"]
    resumed = await ask(client, f"{V1}/services:resume", filter={"model.in": ["iris", "wine"], "name.prefix": "t"})
    assert outcomes(resumed) == ["accepted", "accepted"]
    assert (await client.get(f"{V1}/services/three")).json()["status"] == "resuming"


async def test_predictions_are_canceled_whether_they_have_begun_or_not(client: AsyncClient, context: Context) -> None:
    await add_ready_versions(context, 1)
    await running_service(client, context)
    made = [(await client.post(f"{V1}/services/iris/predictions", json=INPUT)).json()["id"] for _ in range(3)]
    taken = await take(context.database, "predict", "worker", 10_000_000)
    assert taken is not None
    shown = await ask(client, CANCEL, filter={"service": "iris", "model": "iris"})
    assert [item.id for item in shown.items] == made
    assert shown.accepted == 3
    statuses = [(await client.get(f"{V1}/predictions/{id}")).json()["status"] for id in made]
    assert sorted(statuses) == ["canceled", "canceled", "processing"]


async def test_what_belongs_to_others_is_not_there(client: AsyncClient, context: Context) -> None:
    failed = await failed_operations(context, 1)
    other = await add_user(context, "acme", "ada")
    answer = (await client.post(RETRY, json={"ids": failed}, headers=other)).json()
    assert answer["items"][0]["error"]["code"] == "not_found"
    answer = (await client.post(RETRY, json={"filter": {"kind": "version.inspect"}}, headers=other)).json()
    assert answer["items"] == []
    assert await status_of(client, failed[0]) == "failed"


async def test_more_than_a_thousand_are_done_a_thousand_at_a_time(client: AsyncClient, context: Context) -> None:
    now = now_micros()
    common = {"tenant_id": LOCAL.tenant_id, "created_at": now, "lane": "control", "status": "queued", "due_at": now}
    kind = {"kind": "version.test", "target_type": "version", "target_name": "1", "generation": 1, "actor": "local"}
    # On targets that are not there: each is told so, which is all the work this test needs.
    rows = [{"id": f"op_{n:05}", "target_id": f"ver_{n}", **common, **kind, "arguments": {}} for n in range(1001)]
    columns = {"since": now, "priority": 100, "attempt": 0, "rescues": 0, "epoch": 0, "sequence": 1}
    async with context.database.write() as session:
        await session.execute(insert(Operation), [{**row, **columns, "cancel_requested": False} for row in rows])
    shown = await ask(client, f"{V1}/operations:cancel", filter={"kind": "version.test"}, dry_run=True)
    assert (len(shown.items), shown.has_more) == (1000, True)
    assert (shown.items[0].id, shown.items[-1].id) == ("op_00000", "op_00999")


async def test_concurrent_duplicates_have_one_effect_and_one_answer(client: AsyncClient, context: Context) -> None:
    failed = await failed_operations(context, 3)
    headers = {"Idempotency-Key": "together"}
    body = {"ids": failed}
    answers = await asyncio.gather(*(client.post(RETRY, json=body, headers=headers) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["accepted"] == 3
    operation = (await client.get(answers[0].headers["operation-location"])).json()
    assert (operation["kind"], operation["result"]["accepted"]) == ("batch.retry_operations", 3)


WRONG: list[tuple[dict[str, object], str]] = [
    ({}, ""),
    ({"ids": ["op_1"], "filter": {"kind": "x"}}, ""),
    ({"ids": []}, "/ids"),
    ({"ids": [f"op_{n}" for n in range(1001)]}, "/ids"),
    ({"ids": [7]}, "/ids/0"),
    ({"filter": {}}, "/filter"),
    ({"filter": {"knd": "x"}}, "/filter/knd"),
    ({"filter": {"created_at.gt": "yesterday"}}, "/filter/created_at.gt"),
    ({"filter": {"kind": ["a", "b"]}}, "/filter/kind"),
    ({"filter": {"kind.like": "a"}}, "/filter/kind.like"),
    ({"ids": ["op_1"], "dry": True}, "/dry"),
]


@pytest.mark.parametrize(("body", "pointer"), WRONG)
async def test_bad_input_names_its_field(client: AsyncClient, body: dict[str, object], pointer: str) -> None:
    answer = await client.post(RETRY, json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_a_model_can_only_be_named_in_a_filter_of_services(client: AsyncClient) -> None:
    problem = is_problem(await client.post(PAUSE, json={"filter": {"model.prefix": "i"}}), 422, "unknown_field")
    assert "/filter/model" in str(problem["errors"])


async def test_what_is_wrong_with_the_whole_body_is_said_without_a_field(client: AsyncClient) -> None:
    neither = is_problem(await client.post(PAUSE, json={}), 422, "invalid_field")
    assert neither["detail"] == "the request cannot be used as it is: give either 'ids' or 'filter', and not both"
    assert "Content-Type" not in str(neither)
    empty = is_problem(await client.post(PAUSE, json={"filter": {}}), 422, "invalid_field")
    assert "see '/filter': at least 1 is needed here, not 0" in str(empty["detail"])
    assert "send a JSON object" in str(is_problem(await client.post(PAUSE, json=[]), 422, "invalid_field"))
