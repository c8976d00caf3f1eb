"""Scripts on a real platform: trained, registered, watched live, and let in by a token of their own."""

import io
import json
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.sync.client import connect
from websockets.typing import Origin

from portside import Portside, RunFailed
from tests.e2e.platform import RunningPlatform, until
from tests.workers.node.scriptworld import processes_with, remove_places

RUN_S = 240
GOING_ON = "/api/v1/jobs/on/runs/1"
WAIT = {"Prefer": "wait=60"}
GOES_ON = """
import time
import portside.run

marks = portside.run.checkpoint / "starts"
starts = marks.read_text() if marks.exists() else ""
aside = marks.with_suffix(".new")
aside.write_text(starts + "x")
aside.replace(marks)
print("start", len(starts) + 1, flush=True)
time.sleep(0 if starts else 60)
"""
ONNX = Path(__file__).resolve().parents[2] / "examples" / "iris.onnx"
TRAIN = """
import json, os, shutil, sys, urllib.request
import helper
import portside.run

lines = open(portside.run.inputs()["train"]).read().splitlines()
for step in range(3):
    portside.run.log(step=step, loss=helper.loss(step), rows=len(lines) - 1)
portside.run.progress(50, "half way")
request = urllib.request.Request(
    os.environ["PORTSIDE_API"] + "/api/v1/me", headers={"Authorization": "Bearer " + os.environ["PORTSIDE_TOKEN"]}
)
print("I am", json.load(urllib.request.urlopen(request)), flush=True)
shutil.copy(portside.run.models()["base"], portside.run.outputs / "model.onnx")
(portside.run.outputs / "rows.csv").write_text("a,b\\n1,2\\n3,4\\n")
(portside.run.outputs / "token").write_text(os.environ["PORTSIDE_TOKEN"])
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with RunningPlatform.start(tmp_path_factory.mktemp("scripts")) as platform:
        yield platform
    remove_places(platform.data)


@pytest.fixture(scope="module")
def token(running: RunningPlatform) -> str:
    answer = httpx2.post(f"{running.url}/api/v1/tokens", json={"name": "scripts"}, timeout=RUN_S)
    return str(answer.json()["token"])


@pytest.fixture
def client(running: RunningPlatform, token: str) -> Iterator[httpx2.Client]:
    with let_in(running, token) as opened:
        yield opened


def let_in(platform: RunningPlatform, token: str) -> httpx2.Client:
    return httpx2.Client(base_url=platform.url, headers={"Authorization": f"Bearer {token}"}, timeout=RUN_S)


def archive() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as packed:
        packed.writestr("train.py", TRAIN)
        packed.writestr("helper.py", "def loss(step):\n    return 1 / (step + 1)\n")
    return sink.getvalue()


def finished(client: httpx2.Client, job: str) -> dict[str, object]:
    answer = client.post(f"/api/v1/jobs/{job}:run")
    assert answer.status_code == 202, answer.text
    return ended(client, f"/api/v1/jobs/{job}/runs/latest")


def ended(client: httpx2.Client, run: str) -> dict[str, object]:
    """The run, once it has."""
    while True:
        found: dict[str, object] = client.get(f"{run}:wait", params={"timeout": 30}).json()
        if found["status"] in ("succeeded", "failed", "stopped"):
            return found


def test_a_training_job_registers_its_model_and_leaves_a_dataset(client: httpx2.Client) -> None:
    with ONNX.open("rb") as model:
        made = client.post("/api/v1/models", files={"file": model}, data={"name": "iris"}, headers=WAIT)
    assert made.status_code == 201, made.text
    rows = {"file": ("flowers.csv", b"a,b\n1,2\n3,4\n")}
    made = client.post("/api/v1/datasets", files=rows, data={"name": "flowers"}, headers=WAIT)
    assert made.status_code == 201, made.text
    file = client.post("/api/v1/files", files={"content": ("train.zip", archive())}).json()
    spec = {
        "name": "train",
        "kind": "script",
        "script": {"file": file["id"], "entry": "train.py"},
        "inputs": {"datasets": {"train": "flowers"}, "models": {"base": "iris/1"}},
        "outputs": {
            "model.onnx": {"register": {"model": "iris", "alias": "trained"}},
            "rows.csv": {"dataset": "made-{run}"},
        },
    }
    made = client.post("/api/v1/jobs", json=spec)
    assert made.status_code == 201, made.text
    run = finished(client, "train")
    log = client.get("/api/v1/jobs/train/runs/1/logs").text
    assert run["status"] == "succeeded", (run["error"], log)
    assert "run:train/1" in log
    version = client.get("/api/v1/models/iris/versions/@trained").json()
    assert (version["number"], version["status"]) == (2, "ready")
    assert client.get("/api/v1/datasets/made-1").json()["rows"] == 2
    told = client.get("/api/v1/jobs/train/runs/1/metrics").json()["reports"]
    assert [(each["step"], each["values"]["rows"]) for each in told] == [(0, 2), (1, 2), (2, 2)]
    assert client.get("/api/v1/jobs/train/runs/1/metrics", params={"after": 2}).json()["reports"] == told[2:]
    items = client.get("/api/v1/jobs/train/runs/1/artifacts").json()["items"]
    assert [each["path"] for each in items] == ["model.onnx", "rows.csv", "token"]
    # The token of the run has ended with it.
    ended = client.get("/api/v1/jobs/train/runs/1/artifacts/token").text
    assert client.get("/api/v1/me", headers={"Authorization": f"Bearer {ended}"}).status_code == 401


def test_a_script_needs_a_token(running: RunningPlatform, client: httpx2.Client) -> None:
    spec = {"name": "hello", "kind": "script", "script": {"source": "print('hello')"}}
    refused = httpx2.post(f"{running.url}/api/v1/jobs", json=spec, timeout=RUN_S)
    assert (refused.status_code, refused.json()["code"]) == (403, "script_needs_token")
    assert client.post("/api/v1/jobs", json=spec).status_code == 201
    refused = httpx2.post(f"{running.url}/api/v1/jobs/hello:run", timeout=RUN_S)
    assert refused.json()["code"] == "script_needs_token"
    assert finished(client, "hello")["status"] == "succeeded"
    assert client.get("/api/v1/jobs/hello/script").text == "print('hello')"


def test_a_dataset_whose_name_is_taken_gets_the_number_of_the_run(client: httpx2.Client) -> None:
    left = "import portside.run\n(portside.run.outputs / 'rows.csv').write_text('a\\n1\\n')\n"
    outputs = {"rows.csv": {"dataset": "rows-that-the-script-has-left-on-day-{date}"}}
    spec = {"name": "daily", "kind": "script", "script": {"source": left}, "outputs": outputs}
    client.post("/api/v1/jobs", json=spec)
    for _ in range(2):
        finished(client, "daily")
    runs = client.get("/api/v1/jobs/daily/runs", params={"order_by": "number"}).json()["items"]
    first, second = (run["output"]["dataset"] for run in runs)
    assert second == f"{first[:46]}-2"
    for name in (first, second):
        assert client.get(f"/api/v1/datasets/{name}").json()["rows"] == 1


def test_the_python_client_runs_scripts_too(running: RunningPlatform, token: str) -> None:
    with Portside(running.url, token=token) as platform:
        job = platform.create_script_job("client", "raise SystemExit(3)")
        assert job.raw["script"]["entry"] == "main.py"
        with pytest.raises(RunFailed, match="exit code 3"):
            job.run().wait()
        done = job.run(script={"source": "import portside.run\nportside.run.log(step=1, loss=0.5)\n"}).wait()
        reports = done.metrics()["reports"]
        assert isinstance(reports, list)
        assert [each["values"] for each in reports] == [{"loss": 0.5}]
        assert str(done.result()["artifacts"]).endswith("/api/v1/jobs/client/runs/2/artifacts")


def test_a_run_is_watched_over_a_websocket(running: RunningPlatform, client: httpx2.Client, token: str) -> None:
    text = "import portside.run, time\nfor step in range(3):\n    portside.run.log(step=step)\n"
    text = text.replace("step=step", "step=step, value=step * 2")
    client.post("/api/v1/jobs", json={"name": "watched", "kind": "script", "script": {"source": text}})
    client.post("/api/v1/jobs/watched:run")
    where = running.url.replace("http", "ws") + "/api/v1/jobs/watched/runs/1/stream"
    patient: dict[str, Any] = {"proxy": None, "open_timeout": RUN_S}
    with connect(f"{where}?token={token}", **patient) as socket:
        events = [json.loads(message) for message in socket]
    assert [each["data"]["values"] for each in events if each["type"] == "report"] == [
        {"value": 0},
        {"value": 2},
        {"value": 4},
    ]
    assert events[-1]["type"] == "done"
    assert events[-1]["data"]["status"] == "succeeded"
    with pytest.raises(Exception, match="403"), connect(where, origin=Origin("https://evil.example"), **patient):
        pass
    with pytest.raises(Exception, match="401"), connect(f"{where}?token=pst_nothing", **patient):
        pass


def test_a_killed_platform_leaves_no_script_and_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    with RunningPlatform.start(tmp_path) as first:
        token = httpx2.post(f"{first.url}/api/v1/tokens", json={"name": "scripts"}, timeout=RUN_S).json()["token"]
        spec = {"name": "on", "kind": "script", "script": {"source": GOES_ON}, "env": {"MARK": "goes-on-script"}}
        with let_in(first, token) as client:
            client.post("/api/v1/jobs", json=spec)
            client.post("/api/v1/jobs/on:run")
            until(lambda: "start 1" in client.get(f"{GOING_ON}/logs").text or None, RUN_S, "the script's start")
        assert processes_with("goes-on-script")
        first.end(signal.SIGKILL)
    until(lambda: not processes_with("goes-on-script") or None, 60, "the end of the script")
    try:
        with RunningPlatform.start(tmp_path) as second, let_in(second, token) as client:
            run = ended(client, GOING_ON)
            text = client.get(f"{GOING_ON}/logs").text
            assert run["status"] == "succeeded", (run["error"], text)
            assert "start 2" in text
    finally:
        remove_places(tmp_path)
