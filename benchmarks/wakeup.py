"""From a call to the worker that acts on it, over PostgreSQL and Redis: an API and two workers, all idle.

What is called is a webhook's `:test`, and what is timed ends when its handler, after its own look into the database,
begins to send: the delivery's first attempt says when. So the figure holds all of the call, its commit (synced to the
disk), the wake-up and the claim, and a little more than the bar asks for.
"""

import base64
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from queue import Empty, Queue

from benchmarks.figures import Figure, quantile
from benchmarks.platform import Broken, fresh_folder
from benchmarks.wire import Connection
from deploy.stack.child import StackFailed, free_port
from deploy.stack.postgres import PostgresServer
from deploy.stack.process import PortsideProcess, Recipe
from deploy.stack.redis import RedisServer

TRIES = 200
WARM_UP = 30
PAUSE_S = 0.05  # between two calls: everything is idle again
LATE_S = 10.0
WORKERS = 2
P50_MS = 20.0
P99_MS = 80.0
MIGRATE_S = 60.0


def measure() -> list[Figure]:
    """With Redis, then without: the second shows what the lanes' own looks cost, and that nothing is lost."""
    try:
        return _measure()
    except StackFailed as error:
        raise Broken(str(error)) from error


def _measure() -> list[Figure]:
    with fresh_folder() as folder, ExitStack() as ending:
        redis = RedisServer.start(folder / "redis")
        ending.callback(redis.stop)
        port = _start_platform(folder, redis, ending)
        receiver = ending.enter_context(_receiving())
        with Connection(("127.0.0.1", port)) as api:
            path = _subscribe(api, receiver.port)
            for _ in range(WARM_UP):
                _once(api, path, receiver)
            found = [_once(api, path, receiver) for _ in range(TRIES)]
            redis.kill()
            without = [_once(api, path, receiver).started_s for _ in range(10)]
    started = [1000 * one.started_s for one in found]
    answered = [1000 * one.answered_s for one in found]
    woken = [1000 * (one.started_s - one.answered_s) for one in found]
    p50, p99 = quantile(started, 0.5), quantile(started, 0.99)
    return [
        Figure("call → handler, PostgreSQL + Redis, p50", f"≤ {P50_MS:g} ms", f"{p50:.1f} ms", p50 <= P50_MS),
        Figure("  p99", f"≤ {P99_MS:g} ms", f"{p99:.1f} ms, max {max(started):.1f} of {TRIES}", p99 <= P99_MS),
        Figure("  call → answer, p50", "", f"{quantile(answered, 0.5):.1f} ms"),
        Figure(
            "  answer → handler, p50",
            "",
            f"{quantile(woken, 0.5):.1f} ms",
        ),
        Figure("  call → handler with Redis killed, worst", "≤ 5 s", f"{max(without):.2f} s", max(without) <= 5.0),
    ]


@dataclass(frozen=True, slots=True)
class _Start:
    """Seconds from the call to its answer, and to the handler."""

    answered_s: float
    started_s: float


def _once(api: Connection, path: str, receiver: "_Receiver") -> _Start:
    time.sleep(PAUSE_S)
    began, exactly = time.time(), time.perf_counter()
    answer = api.call("POST", path)
    answered_s = time.perf_counter() - exactly
    if answer.status != 201:
        raise Broken(f"{path} was answered {answer.status}: {answer.body[:500].decode(errors='replace')}")
    try:
        receiver.arrived.get(timeout=LATE_S)
    except Empty:
        raise Broken(f"the receiver heard nothing within {LATE_S:g} s") from None
    shown = f"{path.removesuffix(':test')}/deliveries/{answer.document['id']}"
    while not (delivery := api.call("GET", shown).document)["attempts"]:
        time.sleep(PAUSE_S)
    return _Start(answered_s, datetime.fromisoformat(delivery["attempts"][0]["at"]).timestamp() - began)


def _subscribe(api: Connection, port: int) -> str:
    """An endpoint; the path that sends it a test event."""
    answer = api.call("POST", "/api/v1/webhooks", {"url": f"http://127.0.0.1:{port}/", "events": ["version.ready"]})
    if answer.status != 201:
        raise Broken(f"no webhook: {answer.status} {answer.body[:500].decode(errors='replace')}")
    return f"/api/v1/webhooks/{answer.document['id']}:test"


def _start_platform(folder: Path, redis: RedisServer, ending: ExitStack) -> int:
    """PostgreSQL, migrations, an API and workers; the API's port."""
    postgres = PostgresServer.start(folder / "postgres")
    ending.callback(postgres.stop)
    settings = {
        "PORTSIDE_DATABASE_URL": postgres.url,
        "PORTSIDE_BROKER_URL": redis.url,
        "PORTSIDE_ARTIFACTS_URL": f"file://{folder / 'artifacts'}",
        "PORTSIDE_SECRET_KEY": base64.b64encode(os.urandom(32)).decode(),
        "PORTSIDE_ALLOW_PRIVATE_WEBHOOKS": "true",
    }
    role_process(folder, "migrate", settings).run(MIGRATE_S)
    names = ["api", *(f"worker-{number}" for number in range(WORKERS))]
    processes = [role_process(folder, name, settings) for name in names]
    for process in processes:
        process.start()
        ending.callback(process.stop, 15.0)
    for process in processes:
        process.await_ready()
    return int(processes[0].recipe.settings["PORTSIDE_PORT"])


def role_process(folder: Path, name: str, settings: Mapping[str, str]) -> PortsideProcess:
    """A process of a platform by its name (`worker-2`), on ports of its own."""
    role = name.partition("-")[0]
    port, figures = str(free_port()), str(free_port())
    own = {"PORTSIDE_DATA": str(folder / name), "PORTSIDE_PORT": port, "PORTSIDE_METRICS_PORT": figures}
    health = f"http://127.0.0.1:{port}/readyz" if role == "api" else f"http://127.0.0.1:{figures}/healthz"
    return PortsideProcess(
        Recipe(name, role, [role], {**settings, **own}, health, f"127.0.0.1:{figures}", folder / f"{name}.d")
    )


class _Receiver:
    """Answers every POST with 204 and says that it came."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self.arrived: Queue[None] = Queue()

    def run(self) -> None:
        """Serve one connection after another until the listener closes."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                received = connection.recv(65536)
                while b"\r\n\r\n" not in received:
                    received += connection.recv(65536)
                head, _, body = received.partition(b"\r\n\r\n")
                lines = (line.split(b":", 1) for line in head.lower().split(b"\r\n")[1:])
                length = next(int(value) for name, value in lines if name == b"content-length")
                while len(body) < length:
                    body += connection.recv(65536)
                self.arrived.put(None)
                connection.sendall(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")


@contextmanager
def _receiving() -> Iterator[_Receiver]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        receiver = _Receiver(listener)
        thread = threading.Thread(target=receiver.run, daemon=True)
        thread.start()
        yield receiver
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(1)
