"""Replicate's own Python client, unmodified, in an environment of its own, against a running platform."""

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from cli.client import Platform
from tests.e2e.environments import ROOT, make_environment, run_script
from tests.e2e.platform import RunningPlatform, until

PAGE = ROOT / "docs" / "how-to" / "use-the-replicate-client.md"
WAIT = {"Prefer": "wait=60"}
ANSWERED = (
    "creates_and_polls",
    "creates_and_holds",
    "creates_with_a_deployment",
    "gets_and_reloads",
    "lists_forwards_and_back",
    "lists_what_others_have_submitted",
    "streams",
    "is_told_what_failed",
    "verifies_webhooks",
    "does_everything_asynchronously",
)
FILES = (
    "uploads_from_a_path_and_from_memory",
    "gets_and_lists",
    "reads_the_bytes",
    "deletes",
    "uploads_what_an_input_names",
    "does_everything_asynchronously",
)
HELD = ("a_hold_ends_before_its_read_times_out", "cancels")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the client."""
    return make_environment(tmp_path_factory.mktemp("replicate") / "environment", "replicate")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform with the services `iris` and `held`."""
    platform = RunningPlatform.start(tmp_path_factory.mktemp("platform"))
    try:
        with platform.client() as api:
            content = (ROOT / "examples" / "iris.onnx").read_bytes()
            octets = {"content-type": "application/octet-stream", **WAIT}
            assert api.send("POST", "/api/v1/models/iris/versions", content, headers=octets).status == 201
            for name in ("iris", "held"):
                assert api.call("POST", "/api/v1/services", {"name": name, "model": "iris"}, headers=WAIT).status == 201
        yield platform
    finally:
        platform.end()


def check(client: Path, running: RunningPlatform, script: str, name: str) -> None:
    """Run one function of a script with the real client."""
    run_script(client, script, f"{running.url}/api", name)


@contextmanager
def frozen(api: Platform, service: str) -> Iterator[None]:
    """The service's model servers take requests and answer nothing."""
    # Who has been frozen before may just be replaced.
    path = f"/api/v1/services/{service}/replicas"
    replicas = until(lambda: list(api.items(path, status="ready")) or None, 60, "a replica")
    servers = [psutil.Process(int(str(replica["pid"]))) for replica in replicas]
    for server in servers:
        server.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for server in servers:
            if server.is_running():
                server.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("name", ANSWERED)
def test_the_client(client: Path, running: RunningPlatform, name: str) -> None:
    check(client, running, "replicate_predictions.py", name)


@pytest.mark.parametrize("name", HELD)
def test_of_a_service_that_does_not_answer_the_client(client: Path, running: RunningPlatform, name: str) -> None:
    with running.client() as api, frozen(api, "held"):
        check(client, running, "replicate_predictions.py", name)


@pytest.mark.parametrize("name", FILES)
def test_with_files_the_client(client: Path, running: RunningPlatform, name: str) -> None:
    check(client, running, "replicate_files.py", name)


def test_what_the_page_says_works_as_it_stands_there(client: Path, running: RunningPlatform) -> None:
    opened, predicted, *_ = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    shown = 'base_url="http://127.0.0.1:8000/api", api_token="pst_…"'
    assert shown in opened
    program = opened.replace(shown, f'base_url="{running.url}/api"') + predicted
    done = subprocess.run([str(client), "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout.split(" ")[0]) == (0, "succeeded"), done.stderr
