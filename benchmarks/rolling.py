"""A service is changed again and again while it is asked 200 times a second: how many requests fail.

One replica, so that each change must bring the new one before it takes the old one away. The load is open-loop and
comes from a process of its own: a platform that stands still for a moment is asked no less.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count

from benchmarks.figures import Figure, load_in_words
from benchmarks.pacer import Paced, Pacer
from benchmarks.platform import EXAMPLES, Broken, Platform, fresh_folder, predict_path, running, sample_body
from benchmarks.wire import request

PER_SECOND = 200.0
PHASE_S = 20.0
LEAST_S = 3.0  # what is left of a phase for one more change to begin in it
SERVICE = "/api/v1/services/iris"
MODEL = EXAMPLES / "iris.onnx"
WAIT = {"prefer": "wait=55"}
PRINTED = 20

Change = Callable[[Platform], None]


def measure() -> list[Figure]:
    """One change after another, each repeated while its phase lasts."""
    figures = []
    numbers = count(1)
    phases: Mapping[str, Change] = {
        "rolling update": lambda platform: _do(platform, "PATCH", SERVICE, {"env": {"A": str(next(numbers))}}),
        "rollback": partial(_do, method="POST", path=f"{SERVICE}:rollback"),
        "scaled 1 → 3 → 1": _scale_up_and_down,
        "restart": partial(_do, method="POST", path=f"{SERVICE}:restart"),
        "restart of one replica": _restart_replica,
    }
    with fresh_folder() as data, running(data) as platform:
        platform.serve(MODEL, "iris")
        for what, change in phases.items():
            figures.append(_phase(platform, what, change))
    return figures


def _phase(platform: Platform, what: str, change: Change) -> Figure:
    pacer = Pacer(platform, request("POST", predict_path("iris"), sample_body(MODEL)), PER_SECOND, PHASE_S)
    changes = 0
    while time.monotonic() < pacer.ends - LEAST_S:
        change(platform)
        changes += 1
    found = pacer.result()
    print(f"  {what}: {changes} times; {_in_words(found)}; {load_in_words()}", flush=True)
    for failure in found.failures[:PRINTED]:
        print(f"    after {failure.at_s:.3f} s: {failure.status} {failure.body}", flush=True)
    told = f"{len(found.failures)} ({changes} times; {_in_words(found)})"
    return Figure(f"failed requests: {what}", "0", told, not found.failures)


def _in_words(found: Paced) -> str:
    times = f"p50 {found.p50_ms:.1f} p99 {found.p99_ms:.0f} max {found.max_ms:.0f} ms"
    return f"{found.sent} at {found.per_second:.0f}/s, {times}"


def _do(platform: Platform, method: str, path: str, body: object = None) -> None:
    """Ask for a change and wait until it is done."""
    answer = platform.call(method, path, body, WAIT)
    if answer.status != 200:
        raise Broken(f"{method} {path} was answered {answer.status}: {answer.body[:500].decode(errors='replace')}")


def _scale_up_and_down(platform: Platform) -> None:
    for replicas in (3, 1):
        _do(platform, "PATCH", SERVICE, {"replicas": replicas})
        ready = f"{SERVICE}/replicas?status=ready&count=true&page_size=1"
        deadline = time.monotonic() + PHASE_S
        while platform.get(ready)["total"] != replicas:
            if time.monotonic() > deadline:
                raise Broken(f"there are not {replicas} replicas after {PHASE_S:g} s")
            time.sleep(0.05)


def _restart_replica(platform: Platform) -> None:
    replica = platform.get(f"{SERVICE}/replicas?status=ready")["items"][0]["id"]
    _do(platform, "POST", f"{SERVICE}/replicas/{replica}:restart")
