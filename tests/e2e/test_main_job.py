"""From a file to a live service, as a user does it: the real `portside up`, the real model servers, HTTP only."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from cli.client import Platform
from cli.failure import CommandFailed
from cli.receiver import Receiver, listening
from cli.tour import Exhibit, Journal, Tour
from tests.e2e.platform import RunningPlatform, none_is_left, until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SHOWN = {"iris": "iris.onnx", "iris-pmml": "iris.pmml"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """One platform for this module; the tests stand in the order in which a user meets things."""
    with RunningPlatform.typed(tmp_path_factory.mktemp("platform")) as platform:
        yield platform


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with listening() as opened:
        yield opened


def verb(running: RunningPlatform, *words: str) -> subprocess.CompletedProcess[str]:
    """A client verb against the platform."""
    environment = {**os.environ, "PORTSIDE_API": running.url, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "portside", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def answers(platform: Platform, service: str, body: object) -> bool | None:
    try:
        return bool(platform.call("POST", f"/api/v1/services/{service}/predict", body).document["outputs"])
    except CommandFailed:
        return None


@pytest.mark.parametrize("service", SHOWN)
def test_a_file_becomes_a_service_that_answers_in_every_way(
    running: RunningPlatform, receiver: Receiver, service: str, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal()
    with running.client() as platform:
        Tour(platform, Exhibit.read(EXAMPLES / SHOWN[service], service), receiver, journal).run()
    said = capsys.readouterr().out
    for step in ("upload", "inspect", "overview", "deploy", "predict", "async", "webhook"):
        assert f"\n{step} " in said
    assert journal.first_prediction_s > 0


def test_deploying_the_same_file_again_changes_nothing(running: RunningPlatform) -> None:
    with running.client() as platform:
        before = platform.get("/api/v1/services/iris")
    done = verb(running, "deploy", str(EXAMPLES / "iris.onnx"))
    assert (done.returncode, done.stdout) == (0, f"{before['url']}\n"), done.stderr
    assert "No change" in done.stderr
    with running.client() as platform:
        assert platform.get("/api/v1/services/iris")["generation"] == before["generation"]


def test_a_verb_prints_data_on_stdout_and_ends_with_its_status(running: RunningPlatform) -> None:
    done = verb(running, "predict", "iris", f"@{EXAMPLES / 'iris.onnx.input.json'}")
    assert len(json.loads(done.stdout)["outputs"]) == 3
    missing = verb(running, "predict", "no-such-service")
    assert (missing.returncode, missing.stdout) == (3, "")
    assert "no-such-service" in missing.stderr


def test_a_second_platform_on_the_same_folder_is_refused_in_one_sentence(running: RunningPlatform) -> None:
    done = verb(running, "up", "--data", str(running.data), "--port", "0")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"in use by another portside (process {running.process.pid})" in done.stderr


def test_a_busy_port_is_refused_in_one_sentence(running: RunningPlatform, tmp_path: Path) -> None:
    port = running.url.rpartition(":")[2]
    done = verb(running, "up", "--data", str(tmp_path), "--port", port)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"Port {port} of 127.0.0.1 is in use" in done.stderr


def test_after_a_kill_every_service_answers_again_and_nothing_is_orphaned(running: RunningPlatform) -> None:
    family = running.family()
    assert len(family) > len(SHOWN)
    running.send(signal.SIGKILL)
    running.process.communicate()
    until(lambda: none_is_left(family), 60, "the end of every child")
    began = time.monotonic()
    again = RunningPlatform.typed(running.data)
    running.process, running.url = again.process, again.url
    with running.client() as platform:
        for service, file in SHOWN.items():
            body = json.loads((EXAMPLES / f"{file}.input.json").read_text("utf-8"))
            until(partial(answers, platform, service, body), 60, f"an answer of {service}")
    print(f"all services answered {time.monotonic() - began:.1f} s after the start")


def test_ctrl_c_ends_everything_without_a_traceback(running: RunningPlatform) -> None:
    family = running.family()
    status, said = running.end(signal.SIGINT)
    assert status == 0
    assert "Traceback" not in said
    assert said.rstrip().endswith("Stopped.")
    assert none_is_left(family)
    assert not (running.data / "address").exists()


def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    with RunningPlatform.typed(tmp_path) as platform:
        platform.send(signal.SIGSTOP)  # so that both arrive before it looks
        platform.send(signal.SIGINT)
        platform.send(signal.SIGTERM)
        platform.send(signal.SIGCONT)
        assert platform.process.wait(60) == 130
