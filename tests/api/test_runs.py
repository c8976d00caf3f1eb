"""Runs over the API: begun, acted on, shown from the ledger while they work and from their summary afterwards."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy import select

from api.dependencies import Context
from core.clock import now_micros
from state.advance import lock
from state.environments import variables_of
from state.jobtables import Run, RunChunk, RunProcess
from tests.api.jobs import (
    FLOWERS,
    JOBS,
    add_dataset,
    claim,
    end_work,
    fail_work,
    make_job,
    make_run,
    prepared,
)
from tests.api.platform import is_problem, until

RUN = f"{FLOWERS}/runs/1"
PROBLEM: Mapping[str, object] = {
    "type": "urn:portside:problem:too_many_bad_rows",
    "title": "Too many rows are bad",
    "status": 422,
    "code": "too_many_bad_rows",
    "detail": "line 7: 'x' is no number",
}


@pytest.fixture(autouse=True)
async def _world(context: Context, client: AsyncClient) -> None:
    await prepared(context)
    await make_job(client)


async def found(context: Context, number: int = 1) -> Run:
    async with context.database.read() as session:
        return (await session.scalars(select(Run).where(Run.number == number))).one()


async def statuses(client: AsyncClient) -> list[str]:
    return [run["status"] for run in (await client.get(f"{FLOWERS}/runs")).json()["items"]]


async def test_a_run_is_begun_with_what_it_overrides(client: AsyncClient, context: Context) -> None:
    await client.patch(FLOWERS, json={"env": {"A": "1", "B": "2"}, "args": ["x"], "run_name": "{job} of {date}"})
    answer = await make_run(client)
    assert answer.json()["target"]["url"].endswith(RUN)
    more: dict[str, object] = {
        "name": "other",
        "env": {"A": None, "C": "3"},
        "args": ["y"],
        "version": 1,
        "output": {"format": "csv"},
    }
    await client.post(f"{FLOWERS}:run", json=more)
    first, second = [(await client.get(f"{FLOWERS}/runs/{number}")).json() for number in (1, 2)]
    assert first["name"] == f"flowers of {first['created_at'][:10]}"
    assert (first["env_names"], first["args"], first["spec"]["version"]) == (["A", "B"], ["x"], "latest")
    assert (second["name"], second["args"], second["spec"]["version"]) == ("other", ["y"], "1")
    assert second["spec"]["output"] == {"name": "{job}-{run}", "format": "csv", "compression": None, "replace": False}
    assert (second["trigger"], second["status"], second["input"]) == ("manual", "queued", "flowers")
    assert variables_of(context.vault, await found(context, 2)) == {"B": "2", "C": "3"}
    assert variables_of(context.vault, await found(context, 1)) == {"A": "1", "B": "2"}
    assert (await client.get(FLOWERS)).json()["last_run"]["number"] == 2
    assert (await client.get(f"/api/v1/runs/{second['id']}")).json() == second
    is_problem(await client.get("/api/v1/runs/run_nothing"), 404, "not_found")
    for name in ("latest", second["id"]):
        assert (await client.get(f"{FLOWERS}/runs/{name}")).json() == second


async def test_a_run_that_cannot_fit_is_refused_at_once(client: AsyncClient, context: Context) -> None:
    await add_dataset(context, "narrow", columns=("a",))
    for body, pointer in (
        ({"input": {"dataset": "narrow"}}, "/pass_through/0"),
        ({"version": "99"}, "/version"),
        ({"model": "iris"}, "/model"),
        ({"env": {"PATH": "x"}}, "/env/PATH"),
        ({"output": {"name": "B"}}, "/output/name"),
    ):
        answer = await client.post(f"{FLOWERS}:run", json=body)
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["errors"][0]["pointer"] == pointer
    assert (await client.get(f"{FLOWERS}/runs")).json()["items"] == []


async def test_a_run_of_a_uri_makes_a_dataset_of_it_first(client: AsyncClient) -> None:
    await make_job(client, "remote", input={"uri": "https://example.com/a/flowers.tsv", "format": "tsv"})
    await make_run(client, "remote")
    shown = (await client.get(f"{JOBS}/remote/runs/1")).json()
    dataset = (await client.get("/api/v1/datasets/remote-1-input")).json()
    assert (shown["input"], dataset["run"], dataset["role"]) == ("remote-1-input", shown["id"], "input")
    assert (dataset["status"], dataset["filename"]) == ("creating", "flowers.tsv")
    problem = is_problem(await client.delete("/api/v1/datasets/remote-1-input"), 409, "in_use")
    assert problem["runs"] == [f"{JOBS}/remote/runs/1"]


# Each verb from each status that a run can be in: the status after it, or nothing where it is refused.
MATRIX: Mapping[str, Mapping[str, str | None]] = {
    "queued": {"pause": "pausing", "resume": None, "stop": "stopping"},
    "running": {"pause": "pausing", "resume": None, "stop": "stopping"},
    "pausing": {"pause": None, "resume": None, "stop": "stopping"},
    "paused": {"pause": None, "resume": "resuming", "stop": "stopping"},
    "resuming": {"pause": "pausing", "resume": None, "stop": "stopping"},
    "stopping": {"pause": None, "resume": None, "stop": None},
    "stopped": {"pause": None, "resume": None, "stop": None},
    "succeeded": {"pause": None, "resume": None, "stop": None},
    "failed": {"pause": None, "resume": None, "stop": None},
}


async def brought_to(client: AsyncClient, context: Context, run: str, status: str) -> None:
    """Through the API and as workers do."""
    if status == "queued":
        return
    if status in ("running", "succeeded", "failed"):
        if status == "running":
            await claim(context)
        elif status == "succeeded":
            await end_work(context)
        else:
            await fail_work(context, PROBLEM)
        return
    verb = "stop" if status in ("stopping", "stopped") else "pause"
    await client.post(f"{run}:{verb}")
    if status in ("paused", "resuming", "stopped"):
        await end_work(context, "control")
    if status == "resuming":
        await client.post(f"{run}:resume")


@pytest.mark.parametrize("status", MATRIX)
async def test_each_verb_from_each_status(client: AsyncClient, context: Context, status: str) -> None:
    for at, (verb, after) in enumerate(MATRIX[status].items()):
        run = f"{FLOWERS}/runs/{at + 1}"
        await make_run(client)
        await brought_to(client, context, run, status)
        before = (await client.get(run)).json()
        assert before["status"] == status
        answer = await client.post(f"{run}:{verb}")
        shown = (await client.get(run)).json()
        if after is None:
            problem = is_problem(answer, 409, "illegal_move")
            assert problem["current_status"] == status == shown["status"]
            assert ("operation" in problem) == (before["operation"] is not None)
        else:
            assert (answer.status_code, shown["status"]) == (202, after)
            assert shown["generation"] == before["generation"] + 1
            assert shown["operation"] == answer.headers["operation-location"]
            if before["operation"] is not None:
                older = (await client.get(before["operation"])).json()
                assert (older["status"], older["superseded_by"]) == ("canceled", answer.json()["id"])
        if status not in ("succeeded", "failed", "stopped"):
            is_problem(await client.delete(run), 409, "illegal_move")
        await _put_away(client, context, run)


async def _put_away(client: AsyncClient, context: Context, run: str) -> None:
    """What the next round would otherwise claim instead of its own."""
    if (await client.post(f"{run}:stop")).status_code == 202 or "ing" in (await client.get(run)).json()["status"]:
        await end_work(context, "control")


async def test_only_what_has_ended_is_deleted_and_a_number_never_comes_again(
    client: AsyncClient, context: Context
) -> None:
    await make_run(client)
    await end_work(context)
    assert (await client.delete(RUN)).status_code == 204
    is_problem(await client.get(RUN), 404, "not_found")
    is_problem(await client.delete(RUN), 404, "not_found")
    assert (await client.get("/api/v1/runs")).json()["items"] == []
    await make_run(client)
    assert (await client.get(f"{FLOWERS}/runs/latest")).json()["number"] == 2


async def test_a_live_run_is_shown_from_its_ledger_and_an_ended_one_from_its_summary(
    client: AsyncClient, context: Context
) -> None:
    await make_run(client)
    await claim(context)
    run_id = (await found(context)).id
    now = now_micros()
    async with context.database.write() as session:
        run = await lock(session, Run, run_id)
        run.started_at = run.resumed_at = now - 500_000_000
        told = {"rows": 290, "rows_total": 1000, "rows_per_s": 58.0, "eta_s": 12.2, "percent": 29.0, "detail": None}
        assert (await client.get(RUN)).json()["progress"]["rows_total"] == 150, "those of its dataset"
        process = RunProcess(run_id=run_id, tenant_id=run.tenant_id, generation=1, wanted=True, spec={}, pid=4711)
        process.progress, process.began_at = {**told, "worked_s": 60.0}, now - 5_000_000
        session.add(process)
        for ordinal, bad in enumerate((0, 2)):
            row = RunChunk(run_id=run_id, ordinal=ordinal, first_row=100 * ordinal, rows_in=100, rows_out=100 - bad)
            row.bad, row.digest, row.size_bytes, row.next, row.committed_at = bad, "sha256:0", 1, {}, now
            session.add(row)
    shown = (await client.get(RUN)).json()
    assert shown["progress"] == told
    assert (shown["rows_in"], shown["rows_out"], shown["bad"]) == (200, 198, 2)
    assert 65 <= shown["duration_s"] < 90
    assert (await client.get(f"{FLOWERS}/runs")).json()["items"][0]["rows_in"] == 200
    figures = (await client.get(f"{RUN}/metrics")).json()
    assert (figures["chunks"], figures["rows_per_s"]) == (2, 58.0)
    is_problem(await client.get(f"{RUN}/result"), 409, "run_unfinished")
    output, bad_rows = [await add_dataset(context, name) for name in ("flowers-1", "flowers-1-bad")]
    summary = {"rows_in": 1000, "rows_out": 998, "bad": 2, "chunks": 10, "seconds": {"read": 1.5}, "rows_per_s": 60.1}
    async with context.database.write() as session:
        run = await lock(session, Run, run_id)
        run.summary, run.output_id, run.bad_rows_id, run.resumed_at = summary, output.id, bad_rows.id, None
        (await session.get_one(RunProcess, run_id)).pid = None
        run.completed_at = now
    await client.post(f"{RUN}:stop")
    await end_work(context, "control")
    shown = (await client.get(RUN)).json()
    assert (shown["rows_in"], shown["rows_out"], shown["bad"], shown["duration_s"]) == (1000, 998, 2, 60.0)
    assert shown["output"]["url"].endswith("/api/v1/datasets/flowers-1")
    result = (await client.get(f"{RUN}/result")).json()
    assert result["output"]["urls"]["content"].endswith("/api/v1/datasets/flowers-1/content")
    assert result["bad_rows"]["urls"]["preview"].endswith("/api/v1/datasets/flowers-1-bad/preview")
    figures = (await client.get(f"{RUN}/metrics")).json()
    assert (figures["chunks"], figures["seconds"]["read"], figures["seconds"]["score"]) == (10, 1.5, None)


async def test_a_stopped_run_shows_what_it_has_done_before_anybody_has_summed_it_up(
    client: AsyncClient, context: Context
) -> None:
    await make_run(client)
    await claim(context)
    run_id, now = (await found(context)).id, now_micros()
    async with context.database.write() as session:
        row = RunChunk(run_id=run_id, ordinal=0, first_row=0, rows_in=100, rows_out=98, bad=2, digest="sha256:0")
        row.size_bytes, row.next, row.committed_at = 1, {}, now
        session.add(row)
    await client.post(f"{RUN}:stop")
    await end_work(context, "control")
    shown = (await client.get(RUN)).json()
    assert shown["status"] == "stopped"
    assert (shown["rows_in"], shown["rows_out"], shown["bad"], shown["progress"]["rows"]) == (100, 98, 2, 100)


async def test_a_failed_run_says_why(client: AsyncClient, context: Context) -> None:
    await make_run(client)
    await fail_work(context, PROBLEM)
    shown = (await client.get(RUN)).json()
    assert (shown["status"], shown["reason"], shown["error"]) == ("failed", "too_many_bad_rows", PROBLEM)
    result = (await client.get(f"{RUN}/result")).json()
    assert (result["output"], result["error"]["code"]) == (None, "too_many_bad_rows")
    again = is_problem(await client.post(f"{await _operation(client)}:retry"), 409, "not_retryable")
    assert "send the request that made it again" in str(again["detail"])


async def _operation(client: AsyncClient) -> str:
    (last,) = (await client.get("/api/v1/operations?kind=run.execute")).json()["items"]
    return f"/api/v1/operations/{last['id']}"


async def test_runs_of_all_jobs_are_listed_and_filtered(client: AsyncClient, context: Context) -> None:
    await make_job(client, "second")
    for job in ("flowers", "second", "second"):
        await make_run(client, job)
    await fail_work(context, PROBLEM)
    listed = (await client.get("/api/v1/runs?count=true&job=second&status=queued")).json()
    assert (listed["total"], {run["job"] for run in listed["items"]}) == (2, {"second"})
    assert [run["number"] for run in (await client.get(f"{JOBS}/second/runs?order_by=number")).json()["items"]] == [
        1,
        2,
    ]
    assert (await client.get("/api/v1/runs?status=failed")).json()["items"][0]["job"] == "flowers"
    is_problem(await client.get("/api/v1/runs?colour=red"), 422, "unknown_field")


async def test_whoever_waits_is_answered_when_the_run_has_ended(client: AsyncClient, context: Context) -> None:
    await make_run(client)
    assert (await client.get(f"{RUN}:wait?timeout=0")).json()["status"] == "queued"
    waiting = asyncio.create_task(client.get(f"{RUN}:wait?timeout=60"))
    preferring = asyncio.create_task(client.post(f"{FLOWERS}:run", headers={"Prefer": "wait=60"}))
    await end_work(context)
    assert (await waiting).json()["status"] == "succeeded"

    async def is_queued() -> bool:
        return await statuses(client) == ["queued", "succeeded"]

    await until(is_queued)
    await end_work(context)
    answer = await preferring
    assert (answer.status_code, answer.json()["status"]) == (201, "succeeded")
    assert answer.headers["location"].endswith(f"{FLOWERS}/runs/2")


async def test_its_events_are_its_changes_its_progress_and_its_end(client: AsyncClient, context: Context) -> None:
    await make_run(client)
    await end_work(context)
    text = (await client.get(f"{RUN}/events")).text
    told = [block.splitlines() for block in text.strip().split("\n\n")]
    assert [lines[1] for lines in told] == ["event: status"] * 3 + ["event: done"]
    assert json.loads(told[-1][2].removeprefix("data: "))["status"] == "succeeded"
    resumed = (await client.get(f"{RUN}/events", headers={"Last-Event-ID": "2"})).text
    assert resumed.count("event: status") == 1
    assert [change["to"] for change in (await client.get(f"{RUN}/history")).json()["items"]] == [
        "succeeded",
        "running",
        "queued",
    ]


async def test_its_log_comes_through_the_port_of_logs(client: AsyncClient, context: Context, app: FastAPI) -> None:
    await make_run(client)
    asked: list[tuple[str, bool, int]] = []

    async def read(run_id: str, follow: bool, tail_bytes: int) -> AsyncIterator[bytes]:
        asked.append((run_id, follow, tail_bytes))
        yield b"chunk 1\n"
        yield b"chunk 2\n"

    app.state.context = replace(context, read_logs=read)
    assert (await client.get(f"{RUN}/logs?follow=true&tail_bytes=9")).text == "chunk 1\nchunk 2\n"
    assert asked == [((await found(context)).id, True, 9)]


async def test_a_dataset_and_a_version_that_a_live_run_uses_are_not_deleted(
    client: AsyncClient, context: Context
) -> None:
    await make_run(client)
    problem = is_problem(await client.delete("/api/v1/datasets/flowers"), 409, "in_use")
    assert problem["runs"] == [RUN]
    async with context.database.write() as session:
        run = await lock(session, Run, (await found(context)).id)
        run.version_id = (await client.get("/api/v1/models/iris/versions/1")).json()["id"]
    version = "/api/v1/models/iris/versions/1"
    problem = is_problem(await client.delete(version), 409, "in_use")
    assert problem["runs"] == [RUN]
    assert (await client.get(RUN)).json()["version"] == "1"
    await end_work(context)
    assert (await client.delete(version)).status_code == 204
