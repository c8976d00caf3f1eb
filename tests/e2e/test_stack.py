"""The main job on the production shape, and what stays right while parts of it die. The tests build on each other."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from cli.catalogue import figures
from cli.client import Document, Platform
from cli.failure import CommandFailed
from cli.receiver import Receiver, listening
from cli.tour import Exhibit, Journal, Tour
from deploy.stack.process import ROOT
from deploy.stack.topology import Topology
from portside import OperationFailed, Portside
from tests.e2e.observing import Caller, assert_followed, scraped
from tests.e2e.platform import none_is_left, until

EXAMPLES = ROOT / "examples"
SHOWN = {"iris": "iris.onnx", "iris-pmml": "iris.pmml"}
PEOPLE = b"age,job\n41,clerk\n7,\n"
RECORD = json.loads((EXAMPLES / "iris.onnx.input.json").read_text("utf-8"))["inputs"][0]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with listening() as opened:
        yield opened


@pytest.fixture
def platform(stack: Topology) -> Iterator[Platform]:
    """The stack by its one address."""
    with Platform(stack.url, stack.token) as client:
        yield client


def answer_of(client: Platform) -> Document | None:
    try:
        return client.call("POST", "/api/v1/services/iris/predict", {"inputs": RECORD}, timeout_s=10).document
    except CommandFailed:
        return None


@pytest.mark.parametrize("service", SHOWN)
def test_a_file_becomes_a_service_that_answers_in_every_way(
    platform: Platform, receiver: Receiver, service: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Tour(platform, Exhibit.read(EXAMPLES / SHOWN[service], service), receiver, Journal()).run()
    said = capsys.readouterr().out
    for step in ("upload", "inspect", "overview", "deploy", "predict", "async", "webhook"):
        assert f"\n{step} " in said


def test_either_api_shows_the_same_and_reaches_the_same_replicas(stack: Topology) -> None:
    seen = []
    for url in stack.api_urls:
        with Platform(url, stack.token) as api:
            seen.append([item["id"] for item in api.items("/api/v1/services")])
            assert until(partial(answer_of, api), 60, f"a prediction by {url}")
    assert seen[0] == seen[1] != []


def test_nobody_gets_in_without_the_token(stack: Topology) -> None:
    for url in (stack.url, *stack.api_urls):
        with Platform(url) as stranger, pytest.raises(CommandFailed):
            stranger.get("/api/v1/services")


def test_datasets_are_the_same_over_postgresql_redis_and_a_bucket(stack: Topology, tmp_path: Path) -> None:
    """Also with the characters that JSON has and PostgreSQL has not."""
    strange = b'age,job\n41,"cl\x00erk"\n7,\xf0\x9f\x98\x80\n'
    with Portside(stack.url, stack.token) as platform:
        made = platform.datasets.create("people", PEOPLE)
        assert (made.rows, made.preview()["rows"]) == (2, [[41, "clerk"], [7, None]])
        assert made.download(tmp_path / "back").read_bytes() == PEOPLE
        with suppress(OperationFailed):
            platform.datasets.create("strange", strange)
        assert platform.datasets.get("strange").reason in (None, "dataset_invalid")
        files = platform.datasets.create("pictures", kind="files")
        files.put_file("a/b.png", b"picture")
        assert files.download(tmp_path / "all.zip").stat().st_size > 0
        made.delete()


def test_one_request_leads_through_the_logs_of_all_processes(stack: Topology) -> None:
    Caller(stack.url, stack.token).deploy_and_predict("observed")
    assert_followed(sorted(stack.folder.glob("*/output.log")), "observed")


def test_each_process_shows_its_part_of_the_figures(stack: Topology) -> None:
    known = {figure.name: figure for figure in figures()}
    everywhere = {name for name, figure in known.items() if figure.part == "every process"}
    by_role = {role: {name for name, one in known.items() if one.part == role} for role in ("api", "worker", "node")}
    for process in stack.processes:
        shown = {name for name in scraped(f"http://{process.recipe.figures}/metrics") if name.startswith("portside_")}
        assert everywhere | by_role[process.role] <= shown <= known.keys()


def test_predictions_go_on_without_database_and_broker_and_the_rest_recovers_by_itself(
    stack: Topology, platform: Platform
) -> None:
    stack.redis.kill()
    stack.postgres.kill()
    for _ in range(20):
        assert answer_of(platform), "a prediction was lost with the database"
    stack.postgres.restart()
    stack.redis.restart()
    made = until(lambda: _deployed(platform, "after-the-storm"), 60, "a deployment after the restart")
    assert made["status"] == "running"


def _deployed(platform: Platform, name: str) -> Document | None:
    """The service, once it runs; made first if need be."""
    path = f"/api/v1/services/{name}"
    try:
        if platform.find(path) is None:
            platform.call("POST", "/api/v1/services", {"name": name, "model": "iris"})
        found = platform.get(path)
    except CommandFailed:
        return None
    return found if found["status"] == "running" else None


@pytest.mark.parametrize("name", ["api-1", "worker-1", "node-1"])
def test_a_process_that_is_killed_comes_back_and_the_service_answers(
    stack: Topology, platform: Platform, name: str
) -> None:
    process = stack.process(name)
    before = process.pid
    began = time.monotonic()
    process.kill()
    assert until(lambda: process.pid != before or None, 60, f"the supervision of {name}")
    process.await_ready(60)
    assert until(lambda: answer_of(platform), 60, f"an answer after {name} was killed")
    print(f"{name}: all well {time.monotonic() - began:.1f} s after the kill")


def test_work_is_done_while_one_worker_hangs(stack: Topology, platform: Platform) -> None:
    worker = stack.process("worker-2")
    worker.pause()
    try:
        body, headers = {"inputs": RECORD}, {"prefer": "wait=60"}
        for _ in range(3):
            done = platform.call("POST", "/api/v1/services/iris/predictions", body, headers=headers, timeout_s=90)
            assert done.document["status"] == "succeeded"
    finally:
        worker.resume()


def test_a_folder_that_a_stack_uses_is_refused_and_an_interrupted_start_leaves_nobody(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.stack", "--folder", str(tmp_path / "data"), "--port", "0"]
    starting = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    family: dict[int, psutil.Process] = {}

    def some_have_started() -> bool | None:
        family.update({one.pid: one for one in psutil.Process(starting.pid).children(recursive=True)})
        return len(family) > 3 or None

    try:
        until(some_have_started, 60, "the first processes")
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
        assert second.returncode == 1
        assert f"in use by another portside (process {starting.pid})" in second.stderr
    finally:
        starting.send_signal(signal.SIGINT)
        _, said = starting.communicate(timeout=120)
    assert starting.returncode == 130, said
    assert "Traceback" not in said
    until(lambda: none_is_left(list(family.values())), 60, "the end of all that was started")
