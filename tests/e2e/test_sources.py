"""A model that the platform fetches itself: killed in the middle of it, it begins anew and the model is served."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cli.client import Platform
from cli.failure import CommandFailed
from tests.e2e.commands import data, verb
from tests.e2e.platform import RunningPlatform, until

CONTENT = (Path(__file__).resolve().parents[2] / "examples/iris.onnx").read_bytes()
VERSION = "/api/v1/models/iris/versions/1"
BODY = {"inputs": {"float_input": [5.1, 3.5, 1.4, 0.2]}}
READY_S = 120


@contextmanager
def source(go: threading.Event, asked: list[str]) -> Iterator[str]:
    """A URL whose file comes to its end when it may."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:1000])
            go.wait(READY_S)
            self.wfile.write(CONTENT[1000:])

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who asked has died
    serving = threading.Thread(target=server.serve_forever, args=(0.05,))
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/iris.onnx"
    finally:
        go.set()
        server.shutdown()
        serving.join()
        server.server_close()


def replicas(running: RunningPlatform) -> list[str]:
    with running.client() as platform:
        return [str(each["id"]) for each in platform.get("/api/v1/services/iris/replicas")["items"]]


def test_deploying_a_url_again_keeps_what_has_the_same_bytes(tmp_path: Path) -> None:
    go = threading.Event()
    go.set()
    with source(go, []) as url, RunningPlatform.start(tmp_path) as running:
        data(running, "deploy", url)
        before = replicas(running)
        again = verb(running, "deploy", url)
        assert again.exit_status == 0
        assert "Version 2 has the same bytes as version 1, which is kept." in again.err
        assert "No change: iris serves version 1 of iris already." in again.err
        assert replicas(running) == before
        two = verb(running, "deploy", url, "--replicas", "2")
        assert (two.exit_status, "to version 1" in two.err) == (0, True)


def test_a_platform_that_is_killed_while_it_fetches_goes_on_and_serves_the_model(tmp_path: Path) -> None:
    go, asked = threading.Event(), list[str]()
    with source(go, asked) as url:
        with RunningPlatform.start(tmp_path) as running, running.client() as platform:
            platform.call("POST", "/api/v1/models", {"name": "iris", "source_uri": url})
            until(lambda: asked or None, 60, "the fetch")
            assert platform.get(VERSION)["digest"] is None
            running.end(signal.SIGKILL)
        with RunningPlatform.start(tmp_path) as running, running.client() as platform:
            until(lambda: asked[1:] or None, 60, "the second fetch")
            go.set()
            assert until(lambda: rests(platform), READY_S, "the inspection") == "ready"
            platform.call("POST", "/api/v1/services", {"name": "iris", "model": "iris"})
            assert until(lambda: label(platform), READY_S, "a prediction") == "setosa"


def rests(platform: Platform) -> str | None:
    """Where the version has come to."""
    found = str(platform.get(VERSION)["status"])
    return found if found in ("ready", "invalid") else None


def label(platform: Platform) -> str | None:
    """What the service answers, once it does."""
    try:
        answer = platform.call("POST", "/api/v1/services/iris/predict", BODY)
    except CommandFailed:
        return None
    return str(answer.document["outputs"]["label"])
