"""Operations as their owner handles them (API.md section 2)."""

import asyncio
import json
from dataclasses import replace

import pytest
from httpx2 import AsyncClient, Response
from sqlalchemy import Engine, delete, event

from api.dependencies import Context
from state.claims import take
from state.database import open_database
from state.tables import History
from tests.api.platform import DEADLINE_S, add_operation, add_user, fails, is_problem, succeeds, until, work_on

OPERATIONS = "/api/v1/operations"


async def test_a_queued_operation_is_shown_as_the_contract_says(client: AsyncClient, context: Context) -> None:
    operation = await add_operation(context)
    answer = await client.get(f"{OPERATIONS}/{operation.id}")
    body = answer.json()
    assert (body["kind"], body["status"], body["done"]) == ("version.inspect", "queued", False)
    assert body["progress"] == {"percent": 0, "stage": "queued", "detail": None}
    assert body["target"]["url"] == "http://localhost:8000/api/v1/models/iris/versions/1"
    assert body["error"] is body["result"] is body["superseded_by"] is None
    assert answer.headers["retry-after"] == "1"


async def test_a_finished_operation_has_a_result_and_nothing_to_wait_for(client: AsyncClient, context: Context) -> None:
    operation = await add_operation(context)
    await work_on(context, succeeds)
    answer = await client.get(f"{OPERATIONS}/{operation.id}")
    body = answer.json()
    assert (body["done"], body["result"], body["error"]) == (True, {"seen": True}, None)
    assert body["progress"]["percent"] == 100
    assert "retry-after" not in answer.headers


async def test_what_came_of_an_operation_is_found_by_pollers(client: AsyncClient, context: Context) -> None:
    """azure-core's `LROPoller` ends with a GET of `resourceLocation`, and its errors say `message`."""

    async def ended(answer: Response) -> dict[str, object]:
        found: dict[str, object] = (await client.get(answer.headers["operation-location"])).json()
        return found

    made = await ended(await client.post("/api/v1/models", json={"name": "wine"}))
    assert made["resourceLocation"] == "http://localhost:8000/api/v1/models/wine"
    assert (await ended(await client.delete("/api/v1/models/wine")))["resourceLocation"] is None
    path = f"{OPERATIONS}/{(await add_operation(context)).id}"
    assert (await client.get(path)).json()["resourceLocation"] is None
    await work_on(context, fails)
    failed = (await client.get(path)).json()
    assert (failed["error"]["message"], failed["resourceLocation"]) == ("the child died", None)


async def test_an_operation_whose_result_counts_is_itself_what_came_of_it(
    client: AsyncClient, context: Context
) -> None:
    path = f"{OPERATIONS}/{(await add_operation(context)).id}"
    await work_on(context, succeeds)
    shown = (await client.get(path)).json()
    assert (shown["result"], shown["resourceLocation"]) == ({"seen": True}, None)


async def test_an_unchanged_operation_is_304(client: AsyncClient, context: Context) -> None:
    path = f"{OPERATIONS}/{(await add_operation(context)).id}"
    tag = (await client.get(path)).headers["etag"]
    assert (await client.get(path, headers={"If-None-Match": tag})).status_code == 304
    await work_on(context, succeeds)
    assert (await client.get(path, headers={"If-None-Match": tag})).status_code == 200


async def test_wait_answers_when_the_work_is_done(client: AsyncClient, context: Context) -> None:
    operation = await add_operation(context)
    waiting = asyncio.create_task(client.get(f"{OPERATIONS}/{operation.id}:wait?timeout=60"))
    await asyncio.sleep(0.02)
    await work_on(context, succeeds)
    assert (await waiting).json()["status"] == "succeeded"


async def test_wait_answers_the_latest_state_when_its_time_is_over(client: AsyncClient, context: Context) -> None:
    operation = await add_operation(context)
    answer = await client.get(f"{OPERATIONS}/{operation.id}:wait?timeout=0.05")
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    is_problem(await client.get(f"{OPERATIONS}/{operation.id}:wait?timeout=61"), 422, "invalid_field")


async def test_a_waiter_that_goes_away_cancels_nothing(client: AsyncClient, context: Context) -> None:
    operation = await add_operation(context)
    waiting = asyncio.create_task(client.get(f"{OPERATIONS}/{operation.id}:wait?timeout=10"))
    await asyncio.sleep(0.02)
    waiting.cancel()
    assert (await client.get(f"{OPERATIONS}/{operation.id}")).json()["cancel_requested"] is False


@pytest.mark.parametrize("verb", [":cancel", "/cancel"])
async def test_queued_work_is_canceled_at_once_and_only_once(client: AsyncClient, context: Context, verb: str) -> None:
    operation = await add_operation(context)
    for _ in range(2):
        answer = await client.post(f"{OPERATIONS}/{operation.id}{verb}")
        body = answer.json()
        assert (answer.status_code, body["status"], body["error"]["code"]) == (200, "canceled", "canceled")


async def test_running_work_is_asked_to_stop(client: AsyncClient, context: Context) -> None:
    operation = await add_operation(context)
    await take(context.database, "control", "worker", 10_000_000)
    body = (await client.post(f"{OPERATIONS}/{operation.id}:cancel")).json()
    assert (body["status"], body["cancel_requested"], body["done"]) == ("running", True, False)


async def test_a_failed_inspection_of_our_own_fault_is_retried(client: AsyncClient, context: Context) -> None:
    operation = await add_operation(context)
    await work_on(context, fails)
    assert (await client.get(f"{OPERATIONS}/{operation.id}")).json()["error"]["code"] == "inspection_failed"
    answer = await client.post(f"{OPERATIONS}/{operation.id}:retry")
    assert (answer.status_code, answer.json()["status"], answer.json()["error"]) == (202, "queued", None)
    assert answer.json()["started_at"] is None  # a deployment's time limit counts from here
    await work_on(context, succeeds)
    assert (await client.get(f"{OPERATIONS}/{operation.id}")).json()["attempt"] == 1


async def test_only_failed_work_is_retried(client: AsyncClient, context: Context) -> None:
    operation = await add_operation(context)
    problem = is_problem(await client.post(f"{OPERATIONS}/{operation.id}:retry"), 409, "illegal_move")
    assert problem["current_status"] == "queued"


async def test_an_operation_that_does_not_exist_is_404_for_every_verb(client: AsyncClient) -> None:
    for method, verb in (("GET", ""), ("GET", ":wait"), ("GET", "/events"), ("POST", ":cancel"), ("POST", ":retry")):
        is_problem(await client.request(method, f"{OPERATIONS}/op_none{verb}"), 404, "not_found")


async def test_operations_are_filtered_and_belong_to_their_tenant(client: AsyncClient, context: Context) -> None:
    first, second = await add_operation(context, "one"), await add_operation(context, "two")
    await work_on(context, succeeds)
    other = await add_user(context, "acme", "ada")

    async def ids(query: str) -> list[str]:
        return [item["id"] for item in (await client.get(f"{OPERATIONS}?{query}")).json()["items"]]

    assert await ids("") == [second.id, first.id]
    assert await ids("order_by=created_at") == [first.id, second.id]
    assert await ids("status=succeeded") == [first.id]
    assert await ids("status.not.in=succeeded,failed") == [second.id]
    assert await ids(f"target_id={second.target_id}&kind.prefix=version.") == [second.id]
    assert (await client.get(OPERATIONS, headers=other)).json()["items"] == []
    is_problem(await client.get(f"{OPERATIONS}/{first.id}", headers=other), 404, "not_found")


async def _events(client: AsyncClient, path: str, headers: dict[str, str]) -> list[tuple[str, str, dict[str, object]]]:
    text = (await client.get(path, headers=headers)).text
    found = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return found


async def test_the_stream_tells_each_change_and_ends_with_the_operation(client: AsyncClient, context: Context) -> None:
    operation = await add_operation(context)
    path = f"{OPERATIONS}/{operation.id}/events"
    streaming = asyncio.create_task(_events(client, path, {}))
    await asyncio.sleep(0.02)
    await work_on(context, succeeds)
    async with asyncio.timeout(DEADLINE_S):
        found = await streaming
    assert [(event_id, data.get("to")) for event_id, _, data in found[:-1]] == [
        ("1", "queued"),
        ("2", "running"),
        ("3", "succeeded"),
    ]
    assert (found[-1][1], found[-1][2]["status"]) == ("done", "succeeded")
    resumed = await _events(client, path, {"Last-Event-ID": "2"})
    assert [event_id for event_id, _, _ in resumed] == ["3", "3"]


async def test_a_stream_whose_history_is_gone_rests_until_the_operation_ends(
    client: AsyncClient, context: Context
) -> None:
    operation = await add_operation(context)
    async with context.database.write() as session:
        await session.execute(delete(History))
    looks = 0

    def count(*_: object) -> None:
        nonlocal looks
        looks += 1

    event.listen(Engine, "before_cursor_execute", count)
    try:
        streaming = asyncio.create_task(client.get(f"{OPERATIONS}/{operation.id}/events"))

        async def rests() -> bool:
            return any(waiter.sequence is not None for waiter in context.waiters._waiters)

        await until(rests)
        before = looks
        await asyncio.sleep(0.05)
        assert looks - before < 10
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    await work_on(context, succeeds)
    async with asyncio.timeout(DEADLINE_S):
        text = (await streaming).text
    assert text.count(": still here") == 1
    assert "event: done" in text


async def test_thousands_of_waiters_share_one_look(context: Context) -> None:
    operation = await add_operation(context)
    waiting = [
        asyncio.create_task(context.waiters.wait_final(type(operation), operation.id, ["succeeded"], 60))
        for _ in range(2_000)
    ]
    await asyncio.sleep(0.02)
    await work_on(context, succeeds)
    rows = await asyncio.gather(*waiting)
    assert {row.status for row in rows if row is not None} == {"succeeded"}
    assert len(rows) == 2_000


async def test_a_waiter_for_a_row_that_does_not_exist_is_told_so(context: Context) -> None:
    operation = await add_operation(context)
    assert await context.waiters.wait_final(type(operation), "op_none", ["succeeded"], 5) is None


async def test_a_change_by_another_process_is_found_without_a_signal(context: Context) -> None:
    operation = await add_operation(context)
    waiting = asyncio.create_task(context.waiters.wait_final(type(operation), operation.id, ["succeeded"], 60))
    await asyncio.sleep(0.02)
    other = open_database(context.settings.database)
    try:
        await work_on(replace(context, database=other), succeeds)
        row = await waiting
    finally:
        await other.close()
    assert row is not None
    assert row.status == "succeeded"


async def test_closing_the_hub_lets_everybody_go(context: Context) -> None:
    operation = await add_operation(context)
    waiting = asyncio.create_task(context.waiters.wait_final(type(operation), operation.id, ["succeeded"], 30))
    await asyncio.sleep(0.02)
    await context.waiters.close()
    async with asyncio.timeout(25):
        assert await waiting is None
    assert await context.waiters.wait_final(type(operation), operation.id, ["succeeded"], 30) is None
