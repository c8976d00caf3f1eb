"""A batch from the model's file to its rows: a real platform, the real scorer, also across a `kill -9` of all of it."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from portside import Job, Portside, RunFailed
from portside.messages import Json
from tests.crash.runsites import flowers
from tests.e2e.platform import RunningPlatform, none_is_left, until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ROWS = 20_000


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningPlatform]:
    with RunningPlatform.start(tmp_path / "data") as platform:
        yield platform


def prepared(url: str) -> Job:
    """A job over many flowers, one of which has no width."""
    with Portside(url) as platform:
        platform.upload(EXAMPLES / "iris.onnx", "iris")
        platform.datasets.create("flowers", flowers(ROWS, bad=777))
        output: dict[str, Json] = {"name": "scored-{run}", "format": "csv"}
        return platform.create_job("score", "iris", "flowers", pass_through="*", chunk_rows=500, output=output)


def test_a_run_goes_on_after_a_kill_of_everything_and_writes_the_same(running: RunningPlatform, tmp_path: Path) -> None:
    prepared(running.url)
    with Portside(running.url) as platform:
        calm = platform.jobs.get("score").run().wait(300)
        assert (calm.rows_in, calm.rows_out, calm.bad) == (ROWS, ROWS - 1, 1)
        assert json.loads(platform.datasets.get("scored-1-bad").download(tmp_path / "bad").read_bytes())["line"] == 779
        assert len(platform.datasets.get("scored-1").preview(7)["rows"]) == 7
        expected = platform.datasets.get("scored-1").download(tmp_path / "calm").read_bytes()
        run = platform.jobs.get("score").run()
        until(lambda: True if run.reload().rows_in else None, 60, "a chunk")
    family = running.family()
    running.send(signal.SIGKILL)
    running.process.communicate(timeout=60)
    until(lambda: none_is_left(family), 60, "the end of all processes")
    with RunningPlatform.start(running.data) as again:
        with Portside(again.url) as platform:
            ended = platform.jobs.get("score").get_run(2).wait(300)
            assert (ended.status, ended.rows_out) == ("succeeded", ROWS - 1)
            assert platform.datasets.get("scored-2").download(tmp_path / "troubled").read_bytes() == expected
            assert "run" in ended.result()
        family = again.family()
        assert again.end()[0] == 0
    until(lambda: none_is_left(family), 60, "the end of all processes")


def test_a_run_is_paused_resumed_and_stopped_and_a_failed_one_says_why(running: RunningPlatform) -> None:
    job = prepared(running.url)
    with Portside(running.url) as platform:
        run = platform.jobs.get("score").run(chunk_rows=10)  # so many that it is still under way when it is to stop
        run.pause().wait(300)
        assert run.reload().status == "paused"
        run.resume()
        until(lambda: True if run.reload().status == "running" else None, 60, "going on")
        run.stop().wait(300)
        assert run.reload().status == "stopped"
        failing = platform.jobs.get(job.name).run(on_error="fail")
        with pytest.raises(RunFailed) as failed:
            failing.wait(300)
        assert failed.value.code == "too_many_bad_rows"
        assert failing.reload().error is not None
