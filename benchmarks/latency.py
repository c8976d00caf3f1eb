"""Synchronous predictions on one connection: on a quiet platform, and while a 1 GiB upload and inspections run."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from benchmarks import sender
from benchmarks.figures import Figure, load_in_words, median, quantile
from benchmarks.platform import EXAMPLES, MIB, Broken, Platform, fresh_folder, running
from benchmarks.probe import Latencies, Probe

ROUNDS = 3
QUIET_S = 5.0
UPLOAD_BYTES = 1024 * MIB
QUIET_P50_MS = 2.0
BUSY_P99_MS = 10.0
MODEL = EXAMPLES / "iris.onnx"


def measure() -> list[Figure]:
    """Quiet, then busy, `ROUNDS` times; the figure is the median of the rounds."""
    quiet, busy = [], []
    with fresh_folder() as data, running(data) as platform:
        platform.serve(MODEL, "iris")
        for _ in range(ROUNDS):
            probe = Probe(platform, "iris", MODEL)
            time.sleep(QUIET_S)
            quiet.append(probe.stop())
            busy.append(_while_busy(platform))
            print(f"  round: quiet {_in_words(quiet[-1])}; busy {_in_words(busy[-1])}; {load_in_words()}")
    p50 = median([quantile(found.gateway, 0.50) for found in quiet])
    p99 = median([quantile(found.gateway, 0.99) for found in busy])
    return [
        Figure("sync predict, quiet, p50", f"≤ {QUIET_P50_MS:g} ms", _spread(quiet, 0.5), p50 <= QUIET_P50_MS),
        Figure("  p99", "", _spread(quiet, 0.99)),
        Figure("  p50 of the replica itself (what of it is not ours)", "", _spread(quiet, 0.5, direct=True)),
        Figure(
            "sync predict while uploading 1 GiB, p99", f"≤ {BUSY_P99_MS:g} ms", _spread(busy, 0.99), p99 <= BUSY_P99_MS
        ),
        Figure("  p50", "", _spread(busy, 0.5)),
        Figure("  p99 of the replica itself (what of it is the machine's)", "", _spread(busy, 0.99, direct=True)),
    ]


def _while_busy(platform: Platform) -> Latencies:
    """One round: an upload from a process of its own, with inspections one after another meanwhile."""
    probe = Probe(platform, "iris", MODEL)
    with _inspections(platform) as started:
        sent = sender.send_from_afar(platform, "large", UPLOAD_BYTES, as_form=False)
        found = probe.stop()
    if not started:
        raise Broken("no inspection ran")
    platform.finish(platform.get(f"/api/v1/operations/{sent.operation}"))  # it shall not disturb the next quiet round
    return found


@contextmanager
def _inspections(platform: Platform) -> Iterator[list[str]]:
    """Inspections of small models, one at a time, for the length of the block and until the last one is done."""
    enough, started = threading.Event(), list[str]()

    def inspect() -> None:
        while not enough.is_set():
            for name in ("iris.pmml", "iris.onnx"):
                operation = platform.upload(EXAMPLES / name, "inspected")
                started.append(str(operation["id"]))
                platform.finish(operation)

    with ThreadPoolExecutor(1) as thread:
        inspecting = thread.submit(inspect)
        try:
            yield started
        finally:
            enough.set()
        inspecting.result()


def _spread(rounds: Sequence[Latencies], share: float, *, direct: bool = False) -> str:
    found = [quantile(one.replica if direct else one.gateway, share) for one in rounds]
    return f"{median(found):.2f} ms ({', '.join(f'{value:.2f}' for value in found)})"


def _in_words(found: Latencies) -> str:
    p50, p99, worst = (quantile(found.gateway, share) for share in (0.5, 0.99, 1.0))
    return f"p50 {p50:.2f} p99 {p99:.2f} max {worst:.1f} ms of {len(found.gateway)}"
