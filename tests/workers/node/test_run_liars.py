"""Processes of runs that lie, or leave somebody behind: no run hangs on them or keeps what is not theirs."""

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from state.jobtables import RunProcess
from tests.workers.node.runworld import FINAL, RunWorld, open_run_world
from tests.workers.node.world import is_running
from tests.workers.runrows import numbers

CHUNK = {"type": "chunk", "chunk": 0, "first_row": 0, "rows_in": 1, "rows_out": 1, "bad": 0, "file": "a", "next": {}}
FILES = {"pipe": "broken_report", "link": "broken_report", "folder": "broken_report", "nothing": "run_crashed"}


@pytest.fixture
async def runs(data: Path) -> AsyncIterator[RunWorld]:
    """A platform that is at work."""
    async with open_run_world(data, runs_at_once=4) as opened:
        yield opened


async def test_who_escapes_with_the_pipes_holds_up_nothing(runs: RunWorld, tmp_path: Path) -> None:
    escaped = tmp_path / "escaped"
    run = await runs.begin(numbers(200), variables={"MODE": "escaped", "ESCAPED": str(escaped)})
    try:
        assert (await runs.until(run, *FINAL)).status == "succeeded"
        assert is_running(int(escaped.read_text()))
    finally:
        os.kill(int(escaped.read_text()), signal.SIGKILL)


async def test_a_file_that_is_none_is_not_kept_and_holds_up_nothing(runs: RunWorld) -> None:
    await runs.ground.version()
    await runs.ground.dataset(numbers(10))
    begun = []
    for name in FILES:
        lie = {"LIE": json.dumps({**CHUNK, "file": name})}
        begun.append(await runs.ground.run(await runs.ground.job(name=f"job-{name}", variables=lie)))
    for run, reason in zip(begun, FILES.values(), strict=True):
        ended = await runs.until(run, *FINAL)
        assert (ended.status, ended.reason) == ("failed", reason), ended.message


@pytest.mark.parametrize(
    "lie",
    [
        json.dumps({**CHUNK, "chunk": 10**30}),
        json.dumps({**CHUNK, "rows_in": -1}),
        json.dumps({**CHUNK, "rows_out": float("inf")}),
        json.dumps({**CHUNK, "seconds": {"read": float("nan")}}),
        json.dumps({"type": "started", "rows": "many", "columns": [1], "chunk_rows": []}),
        json.dumps({"type": "progress", "rows": 10**40}),
        "[" * 100_000,
        "null",
    ],
    ids=lambda lie: lie[:60],
)
async def test_a_report_that_cannot_be_fails_the_run_once_and_for_all(lie: str, runs: RunWorld) -> None:
    run = await runs.begin(numbers(10), variables={"LIE": lie})
    ended = await runs.until(run, *FINAL)
    assert (ended.status, ended.reason) == ("failed", "broken_report"), ended.message


async def test_a_run_that_the_node_cannot_read_holds_up_no_other(runs: RunWorld) -> None:
    run = await runs.begin(numbers(5000), variables={"PAUSE_MS": "50"})
    pid = await runs.running(run)
    async with runs.database.write() as session:
        row = await session.get_one(RunProcess, run.id)
        row.spec = {"of": "another release"}
    os.kill(pid, signal.SIGKILL)
    other = await runs.ground.run(await runs.ground.job(name="other"))
    assert (await runs.until(other, *FINAL)).status == "succeeded"


ODD = {"code": "odd", "detail": "what a cell had: '\0' and '\ud800'"}


@pytest.mark.parametrize("variables", [{"MODE": "die"}, {"LIE": json.dumps({"type": "failed", "problem": ODD})}])
async def test_signs_that_postgresql_does_not_take_hold_up_nothing(
    variables: dict[str, str], data: Path, shared_database: str
) -> None:
    async with open_run_world(data, database=shared_database) as runs:
        run = await runs.begin(numbers(10), variables=variables)
        ended = await runs.until(run, *FINAL)
        assert (ended.status, ended.reason) == ("failed", "odd" if "LIE" in variables else "run_crashed")
