"""A service's own port of a real platform: it answers there, and again after the platform was killed."""

import json
import signal
from pathlib import Path

import pytest

from deploy.stack.child import free_port
from tests.e2e.platform import RunningPlatform, until
from tests.e2e.wire import Wire

ONNX = (Path(__file__).resolve().parents[2] / "examples" / "iris.onnx").read_bytes()
VECTOR = {"inputs": {"float_input": [5.1, 3.5, 1.4, 0.2]}}


def predicts(port: int) -> bool | None:
    try:
        answer = Wire(f"http://127.0.0.1:{port}").ask_json("POST", "/predict", VECTOR)
    except ConnectionError:
        return None
    return True if answer.status == 200 and json.loads(answer.body)["service"] == "iris" else None


def test_a_services_own_port_outlives_the_death_of_the_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()  # which nobody gets by chance while the platform is away
    monkeypatch.setenv("PORTSIDE_SERVICE_PORTS", f"{port}-{port}")
    with RunningPlatform.start(tmp_path) as running:
        wire = Wire(running.url)
        wait = {"Content-Type": "application/octet-stream", "Prefer": "wait=60"}
        assert wire.ask("POST", "/api/v1/models/iris/versions", ONNX, wait).status == 201
        service = {"name": "iris", "model": "iris", "port": "auto"}
        made = wire.ask_json("POST", "/api/v1/services", service, {"Prefer": "wait=60"})
        assert made.document["port"] == {"number": port, "url": f"http://127.0.0.1:{port}", "fault": None}
        until(lambda: predicts(port), 60, "a prediction")
        running.end(signal.SIGKILL)
    assert predicts(port) is None
    with RunningPlatform.start(tmp_path):
        until(lambda: predicts(port), 60, "a prediction after the death")
