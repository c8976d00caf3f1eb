"""The platform in several processes over PostgreSQL and Redis, its node reached over TCP: it serves, and it heals."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from deploy.stack.child import Child, free_port
from deploy.stack.postgres import PostgresServer
from deploy.stack.process import answers
from deploy.stack.redis import RedisServer
from tests.e2e.platform import none_is_left, until
from tests.workers.node.scriptworld import remove_places

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BODY = {"inputs": {"float_input": [5.1, 3.5, 1.4, 0.2]}}
WAIT = {"Prefer": "wait=60"}
READY_S = 60.0
END_S = 60.0


@dataclass
class Divided:
    """The processes, and a client of the API."""

    folder: Path
    settings: dict[str, str]
    client: httpx2.Client
    ending: ExitStack
    node: Child

    def run(self, role: str, *arguments: str) -> Child:
        """A process of the platform, with a data folder of its own."""
        data = {} if role == "api" else {"PORTSIDE_DATA": str(self.folder / role)}
        command = [sys.executable, "-m", "portside", role, *arguments]
        environment = {**os.environ, **self.settings, **data, "NO_COLOR": "1"}
        child = Child.start(command, self.folder / f"{role}.log", environment=environment)
        self.ending.callback(child.stop, END_S)
        return child

    def start_node(self) -> None:
        """The node, once it says that it has started."""
        said = _size(self.folder / "node.log")
        self.node = self.run("node")

        def says() -> bool | None:
            text = (self.folder / "node.log").read_text("utf-8")[said:]
            assert self.node.status is None, text
            return True if " node " in text else None

        until(says, READY_S, "the start of the node")

    def predict(self) -> int:
        """The status of one prediction."""
        return self.client.post("/api/v1/services/iris/predict", json=BODY).status_code

    def replicas(self) -> list[dict[str, Any]]:
        """Those that are ready, the newest first."""
        answer = self.client.get("/api/v1/services/iris/replicas", params={"status": "ready"})
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    def log_of(self, replica: str) -> httpx2.Response:
        """What it wrote."""
        return self.client.get(f"/api/v1/services/iris/replicas/{replica}/logs")


def _size(file: Path) -> int:
    return len(file.read_text("utf-8")) if file.exists() else 0


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Divided]:
    """A platform with one API, one worker and one node that serves `iris` with two replicas."""
    folder, port = tmp_path_factory.mktemp("divided"), free_port()
    with ExitStack() as ending:
        postgres = PostgresServer.start(folder / "postgres", durable=False)
        ending.callback(postgres.stop)
        redis = RedisServer.start(folder / "redis")
        ending.callback(redis.stop)
        settings = {
            "PORTSIDE_SCRIPT_API": f"http://127.0.0.1:{port}",
            "PORTSIDE_DATABASE_URL": postgres.url,
            "PORTSIDE_BROKER_URL": redis.url,
            "PORTSIDE_ARTIFACTS_URL": f"file://{folder / 'artifacts'}",
            "PORTSIDE_SECRET_KEY": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=",
            "PORTSIDE_NODE_HOST": "127.0.0.1",
            "PORTSIDE_DRAIN_S": "2",
            "PORTSIDE_LEAVE_S": "0",  # nobody passes requests on who would have to notice that the API goes
            "PORTSIDE_HOLD_S": "2",
        }
        client = ending.enter_context(httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=90))
        platform = Divided(folder, settings, client, ending, node=None)  # type: ignore[arg-type]  # `start_node` follows
        assert platform.run("migrate").wait(READY_S) == 0
        platform.run("worker")
        platform.start_node()
        platform.run("api", "--port", str(port)).await_ready(
            lambda: answers(f"http://127.0.0.1:{port}/readyz"), READY_S, "the API"
        )
        _deploy(client)
        yield platform
    remove_places(folder / "node")


def _deploy(client: httpx2.Client) -> None:
    raw = {"Content-Type": "application/octet-stream", **WAIT}
    content = (EXAMPLES / "iris.onnx").read_bytes()
    assert client.post("/api/v1/models/iris/versions", content=content, headers=raw).status_code == 201
    wish = {"name": "iris", "model": "iris", "replicas": 2}
    assert client.post("/api/v1/services", json=wish, headers=WAIT).status_code == 201


def test_predictions_of_both_kinds_reach_replicas_over_tcp(divided: Divided) -> None:
    answer = divided.client.post("/api/v1/services/iris/predict", json=BODY)
    assert (answer.status_code, answer.json()["outputs"]["label"]) == (200, "setosa")
    prediction = divided.client.post("/api/v1/services/iris/predictions", json=BODY, headers=WAIT)
    assert (prediction.status_code, prediction.json()["status"]) == (201, "succeeded"), prediction.text
    ports = {connection.laddr.port for child in _children(divided) for connection in child.net_connections("tcp")}
    assert len(ports) == 2


def _children(divided: Divided) -> list[psutil.Process]:
    return psutil.Process(divided.node.pid).children()


def test_logs_come_from_the_node_and_without_it_that_is_said(divided: Divided) -> None:
    [replica, _] = divided.replicas()
    answer = divided.log_of(replica["id"])
    assert (answer.status_code, "is ready after" in answer.text) == (200, True)
    divided.node.send(signal.SIGSTOP)
    try:
        assert divided.predict() == 200
        away = divided.log_of(replica["id"])
    finally:
        divided.node.send(signal.SIGCONT)
    assert (away.status_code, away.json()["code"]) == (503, "node_unavailable")
    assert away.headers["retry-after"]


def test_a_followed_log_ends_when_its_replica_does(divided: Divided) -> None:
    [replica, _] = divided.replicas()
    path = f"/api/v1/services/iris/replicas/{replica['id']}/logs"
    with divided.client.stream("GET", path, params={"follow": "true"}) as answer:
        assert answer.status_code == 200
        process = next(one for one in _children(divided) if replica["id"] in one.cmdline())
        process.kill()
        assert "is ready after" in b"".join(answer.iter_raw()).decode()
    until(lambda: True if len(divided.replicas()) == 2 else None, 60, "the replacement")


def test_a_killed_node_leaves_nothing_behind_and_the_next_one_serves_again(divided: Divided) -> None:
    old, children = {replica["id"] for replica in divided.replicas()}, _children(divided)
    assert len(children) == 2
    divided.node.send(signal.SIGKILL)
    until(lambda: none_is_left(children), 60, "the end of the replicas")
    divided.start_node()
    until(lambda: True if divided.predict() == 200 else None, 60, "serving again")

    def others() -> bool | None:
        now = {replica["id"] for replica in divided.replicas()}
        return True if len(now) == 2 and not old & now else None

    until(others, 60, "two other replicas")


def test_a_script_is_let_in_by_an_api_in_another_process(divided: Divided) -> None:
    text = """
import json, os, urllib.request
import portside.run
del os.environ["PORTSIDE_REPORT_FD"]  # so that it goes to the API
portside.run.log(step=1, loss=0.5)
(portside.run.outputs / "told.txt").write_text("told")
"""
    token = divided.client.post("/api/v1/tokens", json={"name": "scripts"}).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    spec = {"name": "told", "kind": "script", "script": {"source": text}}
    assert divided.client.post("/api/v1/jobs", json=spec, headers=headers).status_code == 201
    run = divided.client.post("/api/v1/jobs/told:run", headers={**headers, **WAIT}).json()
    log = divided.client.get("/api/v1/jobs/told/runs/1/logs", headers=headers).text
    assert run["status"] == "succeeded", (run, log)
    told = divided.client.get("/api/v1/jobs/told/runs/1/metrics", headers=headers).json()["reports"]
    assert [each["values"] for each in told] == [{"loss": 0.5}], log
    assert divided.client.get("/api/v1/jobs/told/runs/1/artifacts/told.txt", headers=headers).text == "told"


def test_a_node_that_is_asked_to_stop_ends_its_replicas_in_order(divided: Divided) -> None:
    children = _children(divided)
    assert divided.node.stop(END_S) == 0
    assert none_is_left(children)
    assert divided.predict() == 503
    divided.start_node()
    until(lambda: True if divided.predict() == 200 else None, 60, "serving again")
