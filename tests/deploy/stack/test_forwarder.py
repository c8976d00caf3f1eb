"""The stand-in for haproxy: both processes get connections, one that is gone or hangs gets none."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2

from deploy.stack.child import Child, accepts, free_port
from deploy.stack.front import CONFIGURATION, configuration
from deploy.stack.process import ROOT
from tests.e2e.platform import until


@contextmanager
def answering(name: str) -> Iterator[ThreadingHTTPServer]:
    """A server that answers its name, and `/readyz` with 200 unless it is `sick`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(503 if self.path == "/readyz" and getattr(self.server, "is_sick", False) else 200)
            self.send_header("content-length", str(len(name)))
            self.end_headers()
            self.wfile.write(name.encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def forwarding(tmp_path: Path, *addresses: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "deploy.stack.forwarder", str(port), *addresses]
    child = Child.start(command, tmp_path / "log", folder=ROOT)
    try:
        child.await_ready(lambda: accepts(port), 60, "the forwarder")
        yield f"http://127.0.0.1:{port}"
    finally:
        child.stop(2)


def address(server: ThreadingHTTPServer) -> str:
    return f"127.0.0.1:{server.server_port}"


def who_answers(url: str) -> str:
    """Asks on a connection of its own."""
    return httpx2.get(url, headers={"connection": "close"}, timeout=60, trust_env=False).text


def test_connections_go_to_each_in_turn_and_bodies_pass_whole(tmp_path: Path) -> None:
    with answering("a") as a, answering("b") as b, forwarding(tmp_path, address(a), address(b)) as url:
        assert {who_answers(url) for _ in range(4)} == {"a", "b"}
        body = b"x" * 5_000_000
        assert httpx2.post(url, content=body, timeout=60, trust_env=False).content == body


def test_a_connection_that_one_refuses_goes_to_the_other(tmp_path: Path) -> None:
    with answering("a") as a, forwarding(tmp_path, f"127.0.0.1:{free_port()}", address(a)) as url:
        assert [who_answers(url) for _ in range(4)] == ["a"] * 4


def test_who_says_that_it_is_not_ready_gets_nothing_until_it_is(tmp_path: Path) -> None:
    with answering("a") as a, answering("b") as b, forwarding(tmp_path, address(a), address(b)) as url:
        a.is_sick = True  # type: ignore[attr-defined]  # the handler looks at it
        until(lambda: {who_answers(url) for _ in range(4)} == {"b"} or None, 60, "leaving a out")
        a.is_sick = False  # type: ignore[attr-defined]  # likewise
        until(lambda: {who_answers(url) for _ in range(4)} == {"a", "b"} or None, 60, "taking a back")


def test_with_nobody_there_the_answer_is_503(tmp_path: Path) -> None:
    with forwarding(tmp_path, f"127.0.0.1:{free_port()}") as url:
        assert httpx2.get(url, timeout=60, trust_env=False).status_code == 503


def test_haproxy_gets_its_own_file_with_this_machines_addresses() -> None:
    text = configuration(4711, ["127.0.0.1:1", "127.0.0.1:2"])
    before, after = CONFIGURATION.read_text("utf-8").splitlines(), text.splitlines()
    added = [line.strip() for line in after if line not in before]
    assert added == ["bind 127.0.0.1:4711", "server api1 127.0.0.1:1", "server api2 127.0.0.1:2"]


def test_a_process_ends_with_whoever_started_it(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        inner = f"import socket, time; s = socket.create_connection(('127.0.0.1', {port})); time.sleep(60)"
        script = (
            "import pathlib, sys, time; from deploy.stack.child import Child\n"
            f"Child.start([sys.executable, '-c', {inner!r}], pathlib.Path(sys.argv[1])); time.sleep(60)"
        )
        listener.settimeout(60)
        starter = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "log")], cwd=ROOT)
        try:
            connection, _ = listener.accept()
        finally:
            starter.kill()
            starter.wait()
        with connection:
            connection.settimeout(60)
            assert connection.recv(1) == b"", "the child is gone when its connection is"
