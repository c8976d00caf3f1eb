"""A run from its row to its datasets: a real worker, a real node, and a stand-in in the scorer's place."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from state.datatables import Dataset
from state.jobtables import Run
from state.queries.operations import request_cancel
from state.tables import Operation
from tests.workers.node.runworld import FINAL, Hold, RunWorld, open_run_world
from tests.workers.node.world import is_running, until
from tests.workers.runrows import WHO, numbers

ROWS = 800  # eight chunks
ALL = ("id,score\n" + "".join(f"row-{row},{2 * row:g}\n" for row in range(ROWS))).encode()
SLOW = {"PAUSE_MS": "20"}
TWO_S = 10.0  # two seconds on a machine of one's own; without a signal it would take the 15 of the handler's look


@pytest.fixture
async def runs(data: Path) -> AsyncIterator[RunWorld]:
    """A platform that is at work."""
    async with open_run_world(data, runs_at_once=2) as opened:
        yield opened


@pytest.fixture
def hold(tmp_path: Path) -> Hold:
    """A run that stands still."""
    return Hold(tmp_path / "hold")


async def log_of(runs: RunWorld, run: Run) -> str:
    pieces = runs.world.target.logs(run.id, follow=False, tail_bytes=1_000_000)
    return b"".join([piece async for piece in pieces]).decode()


async def told(runs: RunWorld, run: Run) -> dict[str, dict[str, str]]:
    """What the first process was given."""
    found: dict[str, dict[str, str]] = json.loads((await log_of(runs, run)).splitlines()[0])
    return found


async def settled(runs: RunWorld, run: Run) -> Run:
    """The run once nothing of it is left but its row."""

    async def look() -> bool:
        return await runs.process(run) is None

    await until(look)
    assert await runs.chunks(run) == []
    return await runs.ground.now(run)


async def test_a_run_over_a_small_dataset_succeeds_and_leaves_its_output(runs: RunWorld) -> None:
    run = await runs.begin(numbers(ROWS))
    ended = await runs.until(run, *FINAL)
    assert ended.status == "succeeded", ended.error
    assert await runs.ground.output(run) == ALL
    assert ended.summary is not None
    counts = {name: ended.summary[name] for name in ("rows_in", "rows_out", "bad", "chunks")}
    assert counts == {"rows_in": ROWS, "rows_out": ROWS, "bad": 0, "chunks": 8}
    assert ended.summary["seconds"] == {"read": 0.008, "score": 0.016, "write": 0.008}
    assert ended.started_at is not None
    assert ended.completed_at is not None
    assert 0 < ended.running_micros <= ended.completed_at - ended.started_at
    await settled(runs, run)


async def test_its_dataset_says_what_is_in_it(runs: RunWorld) -> None:
    run = await runs.until(await runs.begin(numbers(250, bad=(7, 130))), *FINAL)
    async with runs.database.read() as session:
        output, bad = await session.get(Dataset, run.output_id), await session.get(Dataset, run.bad_rows_id)
    assert output is not None
    assert (output.name, output.status, output.format, output.rows, output.role) == (
        "score-1",
        "ready",
        "csv",
        248,
        "output",
    )
    assert output.columns is not None
    # A float although the first part has whole numbers only.
    assert [(column["name"], column["type"]) for column in output.columns] == [("id", "string"), ("score", "float64")]
    assert json.loads(json.dumps(output.reading))["columns"][1]["type"] == "float64"
    assert output.preview_digest is not None
    assert json.loads(await runs.ground.bytes_of(output.preview_digest))["rows"][1] == ["row-1", 2]
    assert bad is not None
    assert (bad.name, bad.rows, bad.format) == ("score-1-bad", 2, "jsonl")
    assert bad.preview_digest is not None
    shown = json.loads(await runs.ground.bytes_of(bad.preview_digest))
    assert shown["rows"][0] == [7, 9, "x", "'none' is no number", "row-7,none"]
    lines = (await runs.ground.output(run, "bad_rows") or b"").splitlines()
    assert [json.loads(line)["row"] for line in lines] == [7, 130]


async def test_a_paused_run_is_gone_in_two_seconds_and_goes_on_where_it_was(runs: RunWorld, hold: Hold) -> None:
    run = await runs.begin(numbers(ROWS), variables=hold.at(3))
    await runs.chunks(run, least=3)
    pid, began = await runs.running(run), time.monotonic()
    await runs.ground.act(run, "pause")
    paused = await runs.until(run, "paused")
    assert not is_running(pid)
    assert time.monotonic() - began < TWO_S
    done = await runs.chunks(run)
    assert len(done) == 3
    assert paused.resumed_at is None
    assert paused.running_micros > 0
    hold.release()
    began = time.monotonic()
    await runs.ground.act(run, "resume")
    await runs.chunks(run, least=len(done) + 1)
    assert time.monotonic() - began < TWO_S
    ended = await runs.until(run, *FINAL)
    assert ended.status == "succeeded"
    assert await runs.ground.output(run) == ALL


async def test_a_pause_does_not_count_as_running(runs: RunWorld, hold: Hold) -> None:
    run = await runs.begin(numbers(500), variables=hold.at(1))
    await runs.chunks(run, least=1)
    await runs.ground.act(run, "pause")
    paused = await runs.until(run, "paused")
    hold.release()
    await asyncio.sleep(0.05)
    await runs.ground.act(run, "resume")
    ended = await runs.until(run, *FINAL)
    assert ended.started_at is not None
    assert ended.completed_at is not None
    assert paused.running_micros < ended.running_micros <= ended.completed_at - ended.started_at - 50_000


async def test_a_process_that_ignores_the_request_is_killed_in_two_seconds(runs: RunWorld, hold: Hold) -> None:
    run = await runs.begin(numbers(ROWS), variables={"MODE": "stubborn", **hold.at(1)})
    await runs.chunks(run, least=1)
    pid, began = await runs.running(run), time.monotonic()
    await runs.ground.act(run, "stop")
    stopped = await runs.until(run, "stopped")
    assert not is_running(pid)
    assert time.monotonic() - began < TWO_S
    assert stopped.summary is not None
    assert stopped.summary["rows_in"] == 100
    assert (await settled(runs, run)).summary == stopped.summary


async def test_a_run_is_paused_and_resumed_before_it_has_begun(data: Path, hold: Hold) -> None:
    async with open_run_world(data, runs_at_once=1) as runs:
        first = await runs.begin(numbers(ROWS), variables=hold.at(1))
        await runs.running(first)
        job = await runs.ground.job("other")
        second = await runs.ground.run(job)
        await runs.until(second, "running")
        await runs.ground.act(second, "pause")
        await runs.until(second, "paused")
        assert await runs.chunks(second) == []
        hold.release()
        await runs.ground.act(second, "resume")
        assert (await runs.until(second, *FINAL)).status == "succeeded"
        assert (await runs.until(first, *FINAL)).status == "succeeded"
        assert await runs.ground.output(second) == ALL


async def test_more_runs_than_may_be_at_once_wait_for_their_turn(runs: RunWorld) -> None:
    first = await runs.begin(numbers(ROWS), variables=SLOW)
    jobs = [await runs.ground.job(f"job-{number}", variables=SLOW) for number in range(3)]
    others = [await runs.ground.run(job) for job in jobs]
    most = 0
    for run in (first, *others):
        while (await runs.ground.now(run)).status not in FINAL:
            most = max(most, len(runs.node.runs))
            await asyncio.sleep(0.01)
    assert most == 2
    assert {await runs.ground.output(run) for run in (first, *others)} == {ALL}


async def test_a_process_that_is_killed_is_replaced_and_no_row_comes_twice(runs: RunWorld, hold: Hold) -> None:
    run = await runs.begin(numbers(ROWS), variables=hold.at(3))
    await runs.chunks(run, least=3)
    for _ in range(2):
        pid = await runs.running(run)
        os.kill(pid, signal.SIGKILL)
        await runs.another(run, pid)
    hold.release()
    ended = await runs.until(run, *FINAL)
    assert ended.status == "succeeded"
    assert await runs.ground.output(run) == ALL


async def test_a_process_that_dies_at_each_chunk_gets_through_by_dying(runs: RunWorld) -> None:
    run = await runs.begin(numbers(400), variables={"MODE": "crash"})
    ended = await runs.until(run, *FINAL)
    assert ended.status == "succeeded"
    assert ended.summary is not None
    assert ended.summary["chunks"] == 4


async def test_a_process_that_never_gets_anywhere_fails_the_run_with_the_end_of_its_log(runs: RunWorld) -> None:
    run = await runs.begin(numbers(10), variables={"MODE": "die"})
    ended = await runs.until(run, *FINAL)
    assert (ended.status, ended.reason) == ("failed", "run_crashed")
    assert ended.error is not None
    assert "a line before the end" in ended.error["last_lines"]
    await settled(runs, run)


async def test_a_process_that_runs_out_of_memory_says_so(runs: RunWorld) -> None:
    run = await runs.begin(numbers(10), variables={"MODE": "hungry"}, resources={"memory_mb": 512})
    ended = await runs.until(run, *FINAL)
    assert (ended.status, ended.reason) == ("failed", "out_of_memory")
    assert "512 MiB" in str(ended.message)


async def test_a_refusal_is_the_end_at_once(runs: RunWorld) -> None:
    run = await runs.begin(numbers(10), variables={"MODE": "refuse"}, retries={"count": 3, "backoff_s": 0})
    ended = await runs.until(run, *FINAL)
    assert (ended.status, ended.reason, ended.retries) == ("failed", "model_refused", 0)
    assert "opset 99" in str(ended.message)


async def test_a_model_that_answers_otherwise_each_time_fails_loudly(runs: RunWorld) -> None:
    run = await runs.begin(numbers(ROWS), variables={"MODE": "fickle"})
    assert (await runs.until(run, *FINAL)).status == "succeeded"  # nothing was done twice


async def test_bad_rows_fail_the_run_where_none_may_be(runs: RunWorld) -> None:
    run = await runs.begin(numbers(500, bad=(250,)), on_error={"policy": "fail", "limit": None})
    ended = await runs.until(run, *FINAL)
    assert (ended.status, ended.reason) == ("failed", "too_many_bad_rows")
    assert await runs.ground.output(run) is None
    found = await settled(runs, run)
    assert found.summary is not None
    assert found.summary["rows_in"] == 300


async def test_a_failed_attempt_is_followed_by_another_one_by_policy(runs: RunWorld, tmp_path: Path) -> None:
    switch = tmp_path / "dies"
    switch.touch()
    policy = {"count": 2, "backoff_s": 0.01}
    run = await runs.begin(numbers(ROWS), variables={"DIES": str(switch)}, retries=policy)

    async def look() -> bool:
        return (await runs.ground.now(run)).retries == 1

    await until(look)
    assert (await runs.ground.now(run)).error is not None
    switch.unlink()
    ended = await runs.until(run, *FINAL)
    assert (ended.status, ended.retries, ended.error) == ("succeeded", 1, None)
    assert await runs.ground.output(run) == ALL


async def test_a_run_that_takes_too_long_fails(runs: RunWorld) -> None:
    run = await runs.begin(numbers(ROWS), variables={"PAUSE_MS": "1000"}, timeout_s=1)
    ended = await runs.until(run, *FINAL)
    assert (ended.status, ended.reason) == ("failed", "run_timeout")
    await settled(runs, run)

    async def none_is_known() -> bool:
        return not runs.node.runs

    await until(none_is_known)


async def test_an_output_that_nobody_can_look_at_is_there_all_the_same(data: Path) -> None:
    async with open_run_world(data, serving_python="/nowhere/python") as runs:  # the scorer is a stand-in
        run = await runs.until(await runs.begin(numbers(ROWS)), *FINAL)
        assert run.status == "succeeded"
        async with runs.database.read() as session:
            output = await session.get(Dataset, run.output_id)
        assert output is not None
        assert output.preview_digest is None
        assert [column["name"] for column in output.columns or ()] == ["id", "score"]


async def test_a_canceled_operation_leaves_no_process(runs: RunWorld, hold: Hold) -> None:
    run = await runs.begin(numbers(ROWS), variables=hold.at(1))
    await runs.chunks(run, least=1)
    pid = await runs.running(run)
    async with runs.database.write() as session:
        found = (await session.scalars(select(Operation).where(Operation.target_id == run.id))).one()
        await request_cancel(session, WHO, found.id)
    assert (await runs.until(run, *FINAL)).reason == "canceled"
    ended = await settled(runs, run)
    assert not is_running(pid)
    assert ended.completed_at is not None
    assert ended.running_micros > 0


async def test_what_a_process_leaves_behind_goes_with_it(runs: RunWorld, hold: Hold) -> None:
    run = await runs.begin(numbers(200), variables={"MODE": "left", **hold.at(1)})
    pid = await runs.running(run)
    hold.release()
    assert (await runs.until(run, *FINAL)).status == "succeeded"

    async def look() -> bool:
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return True
        return False

    await until(look)


async def test_a_process_has_a_constructed_environment_and_steps_back(runs: RunWorld, hold: Hold) -> None:
    variables = {"GREETING": "hello", "PORTSIDE_JOB": "another", **hold.at(0)}
    run = await runs.begin(numbers(500), variables=variables)
    pid = await runs.running(run)

    async def has_told() -> bool:
        return "\n" in await log_of(runs, run)

    await until(has_told)
    assert os.getpriority(os.PRIO_PROCESS, pid) == max(10, os.getpriority(os.PRIO_PROCESS, 0))
    await runs.ground.act(run, "stop")
    await runs.until(run, "stopped")
    given = await told(runs, run)
    assert given["environment"]["GREETING"] == "hello"
    assert given["environment"]["PORTSIDE_JOB"] == "score"
    assert given["environment"]["PORTSIDE_RUN"] == "1"
    assert "PORTSIDE_DATA" not in given["environment"]

    async def is_gone() -> bool:  # a run that has stopped need not wait for that
        return not await asyncio.to_thread(Path(str(given["folder"])).exists)

    await until(is_gone)


async def test_a_platform_that_stops_lets_its_runs_go_on_at_the_next_start(data: Path, hold: Hold) -> None:
    async with open_run_world(data) as runs:
        run = await runs.begin(numbers(ROWS), variables=hold.at(3))
        await runs.chunks(run, least=3)
        pid = await runs.running(run)
    assert not is_running(pid)
    hold.release()
    async with open_run_world(data) as runs:
        process = await runs.process(run)
        assert process is not None
        assert process.wanted
        ended = await runs.until(run, *FINAL)
        assert ended.status == "succeeded"
        assert await runs.ground.output(run) == ALL


async def test_who_follows_the_log_of_a_run_hears_all_of_its_processes(runs: RunWorld, hold: Hold) -> None:
    run = await runs.begin(numbers(ROWS), variables=hold.at(1))
    await runs.chunks(run, least=1)
    text = b""
    async with asyncio.timeout(300):
        killed = False
        async for piece in runs.world.target.logs(run.id, follow=True, tail_bytes=100_000):
            text += piece
            if not killed:
                os.kill(await runs.running(run), signal.SIGKILL)
                hold.release()
                killed = True
    assert text.count(b'{"arguments"') == 2
