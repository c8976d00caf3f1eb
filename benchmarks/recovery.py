"""A worker is killed while it works: how long until another one has begun the same work again.

On PostgreSQL and Redis, with the default settings. The one that is killed is also the only caretaker, so that its
leases must run out, too, before somebody else can see what it left behind: only the worst case is measured.
"""

import base64
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Empty, Queue

from benchmarks.figures import Figure, in_words, median
from benchmarks.platform import Broken, fresh_folder
from benchmarks.wakeup import MIGRATE_S, role_process
from benchmarks.wire import Connection
from deploy.stack.child import StackFailed
from deploy.stack.postgres import PostgresServer
from deploy.stack.process import PortsideProcess
from deploy.stack.redis import RedisServer

TRIES = 9
BEAT_S = 2.0  # at which of its heartbeats a worker dies is left to chance
LATE_S = 30.0
LONGEST_S = 15.0
P50_S = 8.0


def measure() -> list[Figure]:
    """Each worker that takes over is the next to die."""
    try:
        with fresh_folder() as folder, ExitStack() as ending:
            took = _takeovers(folder, ending)
    except StackFailed as error:
        raise Broken(str(error)) from error
    ok = max(took) <= LONGEST_S and median(took) <= P50_S
    target = f"≤ {LONGEST_S:g} s, p50 ≤ {P50_S:g} s"
    return [Figure("worker killed → its work runs again", target, in_words(took, "s"), ok)]


def _takeovers(folder: Path, ending: ExitStack) -> list[float]:
    redis, postgres = RedisServer.start(folder / "redis"), PostgresServer.start(folder / "postgres")
    ending.callback(redis.stop)
    ending.callback(postgres.stop)
    settings = {
        "PORTSIDE_DATABASE_URL": postgres.url,
        "PORTSIDE_BROKER_URL": redis.url,
        "PORTSIDE_ARTIFACTS_URL": f"file://{folder / 'artifacts'}",
        "PORTSIDE_SECRET_KEY": base64.b64encode(os.urandom(32)).decode(),
        "PORTSIDE_ALLOW_PRIVATE_WEBHOOKS": "true",
    }
    role_process(folder, "migrate", settings).run(MIGRATE_S)

    def start(name: str) -> PortsideProcess:
        process = role_process(folder, name, settings)
        process.start()
        ending.callback(lambda: process.kill() if process.is_running else None)
        process.await_ready()
        return process

    port = int(start("api").recipe.settings["PORTSIDE_PORT"])
    arrived, url = ending.enter_context(_hanging_receiver())
    worker = start("worker-0")
    took = []
    for number in range(1, TRIES + 1):
        path = f"/{number}"
        _send_one(port, f"{url}{path}")
        _wait(arrived, path)
        successor = start(f"worker-{number}")
        time.sleep(random.uniform(0.0, BEAT_S))
        began = time.perf_counter()
        worker.kill()
        _wait(arrived, path)
        took.append(time.perf_counter() - began)
        worker = successor
    return took


def _send_one(port: int, url: str) -> None:
    """To an endpoint of its own: what hangs there is not in the next one's way."""
    with Connection(("127.0.0.1", port)) as api:
        made = api.call("POST", "/api/v1/webhooks", {"url": url, "events": ["version.ready"]})
        sent = api.call("POST", f"/api/v1/webhooks/{made.document['id']}:test")
    if sent.status != 201:
        raise Broken(f"no test event: {sent.status} {sent.body[:300].decode(errors='replace')}")


def _wait(arrived: "Queue[str]", path: str) -> None:
    """Until a request for the path comes; those for others are earlier tries that are tried again."""
    deadline = time.monotonic() + LATE_S
    try:
        while arrived.get(timeout=max(0.0, deadline - time.monotonic())) != path:
            pass
    except Empty:
        raise Broken(f"nobody went on with the work within {LATE_S:g} s") from None


@contextmanager
def _hanging_receiver() -> Iterator[tuple["Queue[str]", str]]:
    """Tells of each request's path and never answers one."""
    arrived: Queue[str] = Queue()
    held: list[socket.socket] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            held.append(connection)
            arrived.put(connection.recv(1024).split(b" ")[1].decode("ascii"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield arrived, f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(1)
    for connection in held:
        connection.close()
