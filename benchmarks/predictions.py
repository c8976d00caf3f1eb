"""Durable predictions: from the accepted one to its answer on an idle platform, and how many per second there can be.

On SQLite in one process, and on PostgreSQL and Redis with an API, two workers and the node as processes of their own.
The first figure is told by the prediction itself: `completed_at` less `created_at`, so its commit is in it.
"""

import base64
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime

from benchmarks.figures import Figure, median, quantile
from benchmarks.platform import EXAMPLES, Broken, Platform, fresh_folder, processor_s, running, sample_body
from benchmarks.wakeup import MIGRATE_S, role_process
from benchmarks.wire import Connection, request
from deploy.stack.child import StackFailed
from deploy.stack.postgres import PostgresServer
from deploy.stack.redis import RedisServer

MODEL = EXAMPLES / "iris.onnx"
PATH = "/api/v1/services/iris/predictions"
TRIES = 100
WARM_UP = 20
PAUSE_S = 0.03  # between two: everything is idle again
CLIENTS = 8
EACH = 40
BACKLOG = 400
P50_MS = 25.0
NAMES = ("api", "worker-1", "worker-2", "node")


def measure() -> list[Figure]:
    """Both, one after another."""
    try:
        with fresh_folder() as data, running(data) as platform:
            figures = _figures("SQLite", platform, [platform.process.pid], None)
        with _distributed() as (api, pids):
            return figures + _figures("PostgreSQL + Redis", api, pids, P50_MS)
    except StackFailed as error:
        raise Broken(str(error)) from error


def _figures(where: str, platform: Platform, pids: Sequence[int], bar_ms: float | None) -> list[Figure]:
    platform.serve(MODEL, "iris")
    took = _one_by_one(platform)
    before = processor_s(pids)
    rate = _rate(platform)
    spent_ms = 1000 * (processor_s(pids) - before) / (CLIENTS * EACH)
    p50 = median(took)
    target, ok = ("", None) if bar_ms is None else (f"p50 ≤ {bar_ms:g} ms", p50 <= bar_ms)
    told = f"p50 {p50:.1f} ms, p99 {quantile(took, 0.99):.1f} of {TRIES}"
    return [
        Figure(f"async prediction, accepted → done, idle, {where}", target, told, ok),
        Figure(f"  {CLIENTS} clients that wait for each", "", f"{rate:.0f} per second"),
        Figure("  processor time of our processes for one of these", "", f"{spent_ms:.1f} ms"),
        Figure(f"  {BACKLOG} that wait, worked off", "", f"{_backlog_rate(platform):.0f} per second"),
    ]


def _one_by_one(platform: Platform) -> list[float]:
    ask = request("POST", PATH, sample_body(MODEL), {"prefer": "wait=30"})
    took = []
    with Connection(platform.address) as connection:
        for _ in range(WARM_UP + TRIES):
            time.sleep(PAUSE_S)
            answer = connection.exchange(ask)
            if answer.status != 201 or answer.document["status"] != "succeeded":
                raise Broken(f"answered {answer.status}: {answer.body[:500].decode(errors='replace')}")
            took.append(1000 * (_seconds(answer.document["completed_at"]) - _seconds(answer.document["created_at"])))
    return took[WARM_UP:]


def _seconds(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


def _rate(platform: Platform) -> float:
    ask = request("POST", PATH, sample_body(MODEL), {"prefer": "wait=30"})
    return _together(platform, ask, 201, EACH)


def _backlog_rate(platform: Platform) -> float:
    """How fast work is done when a lot of it waits: nobody is answered meanwhile."""
    began = time.perf_counter()
    _together(platform, request("POST", PATH, sample_body(MODEL)), 202, BACKLOG // CLIENTS)
    waiting = "/api/v1/predictions?status.in=starting,processing&page_size=1"
    while platform.get(waiting)["results"]:
        time.sleep(0.02)
    return BACKLOG / (time.perf_counter() - began)


def _together(platform: Platform, ask: bytes, status: int, each: int) -> float:
    """Requests per second of a few clients."""

    def client(_: int) -> None:
        with Connection(platform.address) as connection:
            for _ in range(each):
                if (answer := connection.exchange(ask)).status != status:
                    raise Broken(f"answered {answer.status}: {answer.body[:500].decode(errors='replace')}")

    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(client, range(CLIENTS)))
    return CLIENTS * each / (time.perf_counter() - began)


@contextmanager
def _distributed() -> Iterator[tuple[Platform, list[int]]]:
    """A platform of several processes, and their ids."""
    with fresh_folder() as folder, ExitStack() as ending:
        redis, postgres = RedisServer.start(folder / "redis"), PostgresServer.start(folder / "postgres")
        ending.callback(redis.stop)
        ending.callback(postgres.stop)
        settings = {
            "PORTSIDE_DATABASE_URL": postgres.url,
            "PORTSIDE_BROKER_URL": redis.url,
            "PORTSIDE_ARTIFACTS_URL": f"file://{folder / 'artifacts'}",
            "PORTSIDE_SECRET_KEY": base64.b64encode(os.urandom(32)).decode(),
        }
        role_process(folder, "migrate", settings).run(MIGRATE_S)
        processes = [role_process(folder, name, settings) for name in NAMES]
        for process in processes:
            process.start()
            ending.callback(process.stop, 15.0)
        for process in processes:
            process.await_ready()
        port = int(processes[0].recipe.settings["PORTSIDE_PORT"])
        yield Platform(port), [process.pid for process in processes]
