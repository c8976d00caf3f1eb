"""SIGTERM while the platform works: it ends soon, leaves nothing, and the next start finishes what was accepted."""

import json
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from cli.client import Platform
from cli.failure import CommandFailed
from tests.e2e.platform import RunningPlatform, none_is_left, until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
OCTETS = {"content-type": "application/octet-stream", "prefer": "wait=60"}
ENDS_WITHIN_S = 45.0  # beside other suites; alone running work's grace and a moment
SERVED_AGAIN_S = 60.0  # likewise; the crash campaign measures it alone
ONE_RECORD = {"inputs": json.loads((EXAMPLES / "iris.onnx.input.json").read_text("utf-8"))["inputs"][0]}


def upload(platform: Platform, model: str) -> None:
    content = (EXAMPLES / "iris.onnx").read_bytes()
    platform.send("POST", f"/api/v1/models/{model}/versions", content, headers=OCTETS)


def half_an_upload(platform: RunningPlatform) -> socket.socket:
    """A connection on which half of a body has been sent."""
    host, _, port = platform.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=ENDS_WITHIN_S)
    content = (EXAMPLES / "iris.onnx").read_bytes()
    head = f"POST /api/v1/models/half/versions HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(content)}\r\n"
    connection.sendall(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + content[:4096])
    return connection


def answer_of(platform: RunningPlatform, service: str) -> bool | None:
    with platform.client() as client:
        try:
            client.call("POST", f"/api/v1/services/{service}/predict", ONE_RECORD)
        except CommandFailed:
            return None
    return True


def test_a_stop_in_the_middle_of_work_leaves_nothing_and_the_next_start_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTSIDE_DRAIN_S", "3")  # the upload that stands still has all of it
    with RunningPlatform.typed(tmp_path) as platform, platform.client() as client, half_an_upload(platform):
        upload(client, "iris")
        deploy = client.call("POST", "/api/v1/services", {"name": "iris", "model": "iris"})
        prediction = client.call("POST", "/api/v1/services/iris/predictions", ONE_RECORD).document
        family = platform.family()
        began = time.monotonic()
        status, said = platform.end(signal.SIGTERM)
        assert (status, "Traceback" in said, none_is_left(family)) == (0, False, True)
        assert time.monotonic() - began < ENDS_WITHIN_S
    assert not [*(tmp_path / "artifacts" / "partial").glob("*")]

    with RunningPlatform.start(tmp_path) as again, again.client() as client:
        until(lambda: answer_of(again, "iris"), SERVED_AGAIN_S, "an answer of the service")
        operation = client.get(f"/api/v1/operations/{deploy.document['id']}:wait", timeout=60)
        assert operation["status"] == "succeeded"
        assert client.get(f"/api/v1/predictions/{prediction['id']}:wait", timeout=60)["status"] == "succeeded"
        assert client.find("/api/v1/models/half") is None


def test_it_can_be_stopped_when_nobody_reads_what_it_says_any_more(tmp_path: Path) -> None:
    platform = RunningPlatform.typed(tmp_path)
    assert isinstance(platform.process, subprocess.Popen)
    assert platform.process.stderr
    assert any("portside deploy" in line for line in platform.process.stderr)  # the panel, whose last line this is
    platform.process.stderr.close()  # as when the terminal or the other end of a pipe has gone
    platform.send(signal.SIGTERM)
    try:
        assert platform.process.wait(ENDS_WITHIN_S) == 0
    finally:
        platform.process.kill()
