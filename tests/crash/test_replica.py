"""A replica that is killed from outside is replaced, and the service's history tells who saw it, why and when."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from cli.client import Document, Platform
from tests.crash.artifacts import onnx_artifact
from tests.crash.workload import MODEL, STEADY
from tests.e2e.platform import RunningPlatform, until

SETTLED_S = 60.0
REPLACED_S = 60.0  # beside other suites; alone it is a second
OCTETS = {"content-type": "application/octet-stream"}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Platform]:
    """A platform with a service of one replica."""
    with RunningPlatform.start(tmp_path) as running, running.client() as client:
        version = client.send("POST", f"/api/v1/models/{MODEL}/versions", onnx_artifact("").content, headers=OCTETS)
        _finished(client, version.headers["operation-location"])
        service = client.call("POST", "/api/v1/services", {"name": STEADY, "model": MODEL})
        _finished(client, service.headers["operation-location"])
        yield client


def test_a_replica_killed_from_outside_is_replaced_and_the_history_tells_so(api: Platform) -> None:
    [before] = _ready(api)
    killed_at = time.time()
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: [each for each in _ready(api) if each["id"] != before["id"]] or None, SETTLED_S, "another replica")
    until(lambda: api.get(f"/api/v1/services/{STEADY}")["status"] == "running" or None, SETTLED_S, "the recovery")
    recovered, degraded, *_ = api.items(f"/api/v1/services/{STEADY}/history")
    assert (degraded["from"], degraded["to"], degraded["actor"]) == ("running", "degraded", "watcher")
    assert degraded["reason"] == "replica_lost"
    assert before["id"] in degraded["message"]
    assert "SIGKILL" in degraded["message"]
    assert (recovered["from"], recovered["to"], recovered["actor"]) == ("degraded", "running", "watcher")
    moments = [datetime.fromisoformat(change["at"]).timestamp() for change in (degraded, recovered)]
    assert killed_at - 0.01 <= moments[0] <= moments[1] <= killed_at + REPLACED_S
    [gone] = [each for each in _replicas(api, "failed") if each["id"] == before["id"]]
    assert gone["reason"] == "killed"


def _finished(api: Platform, location: str) -> None:
    path = f"/api/v1/operations/{location.rpartition('/')[2]}:wait"
    until(lambda: api.get(path, timeout=10)["status"] == "succeeded" or None, SETTLED_S, f"the end of {location}")


def _ready(api: Platform) -> list[Document]:
    return _replicas(api, "ready")


def _replicas(api: Platform, status: str) -> list[Document]:
    return list(api.items(f"/api/v1/services/{STEADY}/replicas", **{"status.in": status}))
