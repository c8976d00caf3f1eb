"""`portside up` as a process of its own on a throw-away folder, and the main job's steps over its API."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.wire import Address, Answer, Connection

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
START_S = 60.0
STOP_S = 30.0
LOOK_S = 0.005
WAIT_S = 60
MIB = 1024 * 1024
PROGRAM = ("-m", "portside")


class Broken(Exception):
    """The platform did not do what the measurement needs: there is no figure."""


class Platform:
    """A running platform. Every step raises `Broken` when it fails."""

    def __init__(self, port: int) -> None:
        self.address: Address = ("127.0.0.1", port)

    def call(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request on a connection of its own; any answer."""
        with Connection(self.address) as connection:
            return connection.call(method, path, body, headers)

    def get(self, path: str) -> Mapping[str, Any]:
        """Read a resource."""
        return _expect(self.call("GET", path), path)

    def upload(self, file: Path, model: str) -> Mapping[str, Any]:
        """Upload a file as a new version; the operation that inspects it."""
        path = f"/api/v1/models/{model}/versions"
        headers = {"content-type": "application/octet-stream"}
        return _expect(self.call("POST", path, file.read_bytes(), headers), path)

    def finish(self, operation: Mapping[str, Any]) -> Mapping[str, Any]:
        """Wait until an operation has succeeded."""
        deadline = time.monotonic() + WAIT_S
        while not operation["done"]:
            if time.monotonic() > deadline:
                raise Broken(f"{operation['kind']} is not done after {WAIT_S} s")
            operation = self.get(f"/api/v1/operations/{operation['id']}:wait?timeout=10")
        if operation["status"] != "succeeded":
            raise Broken(f"{operation['kind']} ended {operation['status']}: {operation['error']}")
        return operation

    def deploy(self, model: str, service: str) -> Mapping[str, Any]:
        """Ask for a service of the model's latest version; the operation."""
        wish = {"name": service, "model": model, "version": "latest"}
        return _expect(self.call("POST", "/api/v1/services", wish), "/api/v1/services")

    def serve(self, file: Path, service: str) -> None:
        """Take a model file to a service that answers."""
        self.finish(self.upload(file, service))
        self.finish(self.deploy(service, service))

    def delete(self, path: str) -> None:
        """Delete a resource and wait for it."""
        self.finish(_expect(self.call("DELETE", path), path))

    def replica_socket(self, service: str) -> str:
        """The unix socket of a service's first replica, which its command line names."""
        replica = self.get(f"/api/v1/services/{service}/replicas")["items"][0]
        words = Path(f"/proc/{replica['pid']}/cmdline").read_text("utf-8").split("\0")
        return words[words.index("--socket") + 1]


class OneProcess(Platform):
    """A platform that is one process; `ready_s` tells how long it took from its start to /readyz."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, ready_s: float) -> None:
        super().__init__(port)
        self.process, self.ready_s = process, ready_s


def sample_body(file: Path) -> Mapping[str, Any]:
    """The body of a prediction of one record, from what lies beside an example."""
    inputs = json.loads(file.with_name(f"{file.name}.input.json").read_text("utf-8"))["inputs"]
    return {"inputs": inputs[0]}


def predict_path(service: str) -> str:
    """Where a service answers."""
    return f"/api/v1/services/{service}/predict"


def processor_s(pids: Sequence[int]) -> float:
    """The processor time that processes have used; other work on the machine does not count in it."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime, proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """A data folder that does not exist yet and is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="portside-bench-") as name:
        yield Path(name) / "data"


@contextmanager
def running(
    data: Path, program: Sequence[str] = PROGRAM, settings: Mapping[str, str] | None = None
) -> Iterator[OneProcess]:
    """A platform on this folder for the length of the block."""
    port = _free_port()
    with _started([*program, "up", "--data", str(data), "--port", str(port)], port, settings or {}) as platform:
        yield platform


@contextmanager
def running_api(settings: Mapping[str, str], program: Sequence[str] = PROGRAM) -> Iterator[OneProcess]:
    """An API of a distributed platform for the length of the block."""
    port = _free_port()
    with _started([*program, "api"], port, {**settings, "PORTSIDE_PORT": str(port)}) as api:
        yield api


@contextmanager
def _started(words: Sequence[str], port: int, settings: Mapping[str, str]) -> Iterator[OneProcess]:
    read_end, write_end = os.pipe()  # the platform reads its end when we end, however that happens
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-P", *words, "--parent-fd", str(read_end)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            pass_fds=(read_end,),
            start_new_session=True,
        )
        os.close(read_end)
        try:
            while not _is_ready(port):
                if process.poll() is not None or time.perf_counter() - began > START_S:
                    said.seek(0)
                    raise Broken(f"the platform did not start: {said.read().decode(errors='replace').strip()}")
                time.sleep(LOOK_S)
            yield OneProcess(process, port, time.perf_counter() - began)
        finally:
            _end(process)
            os.close(write_end)


def _is_ready(port: int) -> bool:
    """Waits in the listener's backlog for the answer, so that the moment is exact."""
    with suppress(ConnectionError), Connection(("127.0.0.1", port), START_S) as connection:
        return connection.call("GET", "/readyz").status == 200
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _expect(answer: Answer, what: str) -> Mapping[str, Any]:
    if answer.status >= 300:
        raise Broken(f"{what} was answered {answer.status}: {answer.body[:500].decode(errors='replace')}")
    return answer.document
