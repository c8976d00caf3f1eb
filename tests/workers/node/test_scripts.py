"""A script from its row to what it leaves: a real worker, a real node, real environments."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.workers.node.runworld import FINAL, open_run_world
from tests.workers.node.scriptworld import Scripts, processes_with, remove_places
from tests.workers.node.world import until
from tests.workers.runrows import numbers

TRAIN = """
import json, os, sys
import portside.run
print("read", open(portside.run.inputs()["train"]).readline().strip(), flush=True)
print("model", open(portside.run.models()["base"], "rb").read().decode())
for step in range(3):
    portside.run.log(step=step, loss=1 / (step + 1))
portside.run.progress(60, "writing")
(portside.run.outputs / "deep").mkdir()
(portside.run.outputs / "deep" / "told.json").write_text(json.dumps([sys.argv[1:], os.environ["COLOUR"], os.getuid()]))
"""


@pytest.fixture(autouse=True)
def _cleaned(data: Path) -> Iterator[None]:
    yield
    remove_places(data)


@pytest.fixture
async def scripts(data: Path) -> AsyncIterator[Scripts]:
    """A platform that is at work."""
    async with open_run_world(data, runs_at_once=2) as opened:
        yield Scripts(opened)


async def test_a_script_reads_reports_and_leaves_files(scripts: Scripts) -> None:
    await scripts.runs.ground.version()
    await scripts.runs.ground.dataset(numbers(3))
    inputs = {"datasets": {"train": "numbers"}, "models": {"base": "twice/1"}}
    run = await scripts.begin(TRAIN, args=["--fast"], variables={"COLOUR": "red"}, inputs=inputs)
    ended = await scripts.runs.until(run, *FINAL)
    log = await scripts.log(run)
    assert ended.status == "succeeded", (ended.error, log)
    assert "read id,x" in log
    assert "model a model" in log
    told = await scripts.outputs(run)
    assert list(told) == ["deep/told.json"]
    assert b'[["--fast"], "red", 2000' in told["deep/told.json"]
    assert [step for step, _ in await scripts.reports(run)] == [0, 1, 2]
    assert ended.summary is not None
    assert (ended.summary["percent"], ended.summary["detail"]) == (60, "writing")


async def test_scripts_run_also_without_users_of_their_own(data: Path) -> None:
    async with open_run_world(data, script_uids="") as opened:
        scripts = Scripts(opened)
        run = await scripts.begin("import portside.run\nportside.run.log(a=1)\nprint('here')\n")
        ended = await opened.until(run, *FINAL)
        assert ended.status == "succeeded", await scripts.log(run)
        assert await scripts.reports(run) == [(None, {"a": 1})]


async def test_a_script_without_a_place_is_told_why(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    async with open_run_world(data, script_folder=tmp_path / "file") as opened:
        run = await Scripts(opened).begin("print(1)")
        ended = await opened.until(run, *FINAL)
    assert ended.status == "failed"
    assert "no place" in str(ended.message)


async def test_a_script_that_fails_says_its_last_lines(scripts: Scripts) -> None:
    run = await scripts.begin("print('before')\nraise SystemExit('no data today')\n")
    ended = await scripts.runs.until(run, *FINAL)
    assert (ended.status, ended.reason) == ("failed", "script_failed")
    assert "no data today" in str(ended.message)


COUNTS = """
import time
import portside.run
mark = portside.run.checkpoint / "count"
goes_on = mark.exists()
for count in range(int(mark.read_text()) + 1 if goes_on else 1, 21):
    aside = mark.with_suffix(".new")
    aside.write_text(str(count))  # a pause may come at any instant
    aside.replace(mark)
    print("at", count)
    if not goes_on:
        time.sleep(0.02 if count < 3 else 3)  # it cannot be done before it is paused
"""


async def test_a_checkpoint_survives_a_pause(scripts: Scripts) -> None:
    run = await scripts.begin(COUNTS)

    async def look() -> bool:
        return "at 3\n" in await scripts.log(run)

    await until(look)
    began = time.monotonic()
    await scripts.runs.ground.act(run, "pause")
    await scripts.runs.until(run, "paused")
    assert time.monotonic() - began < 10  # two seconds on a machine of one's own
    await scripts.runs.ground.act(run, "resume")
    ended = await scripts.runs.until(run, *FINAL)
    log = await scripts.log(run)
    assert ended.status == "succeeded", (ended.error, log)
    assert log.count("at 1\n") == 1
    assert log.count("at 20\n") == 1


async def test_a_failed_attempt_goes_on_from_the_checkpoint(scripts: Scripts) -> None:
    text = """
import portside.run
mark = portside.run.checkpoint / "tries"
tries = int(mark.read_text()) + 1 if mark.exists() else 1
mark.write_text(str(tries))
assert tries == 3, tries
"""
    run = await scripts.begin(text, retries={"count": 2, "backoff_s": 0})
    ended = await scripts.runs.until(run, *FINAL)
    assert (ended.status, ended.retries) == ("succeeded", 2)


async def test_requirements_that_cannot_be_had_fail_the_run_with_what_uv_says(
    scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")  # what an operator says to uv holds here, too
    run = await scripts.begin("print(1)", requirements="six @ https://127.0.0.1:1/six-1.17.0-py2.py3-none-any.whl\n")
    ended = await scripts.runs.until(run, *FINAL)
    assert (ended.status, ended.reason) == ("failed", "environment_failed")
    assert "six" in str(ended.message)


async def test_a_script_that_takes_too_long_is_ended(scripts: Scripts) -> None:
    text = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)\n"
    run = await scripts.begin(text, timeout_s=1, variables={"MARK": "stubborn-script"})
    ended = await scripts.runs.until(run, *FINAL)
    assert (ended.status, ended.reason) == ("failed", "run_timeout")
    assert processes_with("stubborn-script") == []
