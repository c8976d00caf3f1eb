"""Dynamic batching: a small image classifier asked by 64 clients, with batching and without, side by side on one core.

The classifier of the bar has a large dense layer, as many have: its weights are read once per call, so a batch reads
them once for all. Where convolutions do all the work there is little to gain on a core; that is told beside it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.convolution import convolution_model
from benchmarks.crowd import Seen, ask_in_a_crowd
from benchmarks.figures import Figure, median
from benchmarks.platform import ROOT, Broken, fresh_folder
from benchmarks.wire import Connection, request

CLIENTS, ROUNDS, ROUND_S = 64, 5, 2.0
LEAST_GAIN = 1.5
DELAY_S = 0.002  # the default of --max-delay-ms
SIZE = 16
IMAGE = np.random.default_rng(3).standard_normal((3, SIZE, SIZE)).astype(np.float32).round(3)


@dataclass(frozen=True, slots=True)
class Server:
    """A model server under test."""

    port: int

    def batches(self) -> tuple[int, float]:
        """The most common number of records in one call of the engine, weighed by records; the seconds it took."""
        with Connection(("127.0.0.1", self.port)) as connection:
            (stats,) = connection.call("GET", "/v2/models/conv/stats").document["model_stats"]
        most = max(stats["batch_stats"], key=lambda each: each["batch_size"] * each["compute_infer"]["count"])
        return most["batch_size"], most["compute_infer"]["ns"] / most["compute_infer"]["count"] / 1e9


def measure() -> list[Figure]:
    """The bar, and for information a model that gains little."""
    server_core, client_cores = _cores()
    with fresh_folder() as folder:
        return [
            *_compared(folder / "conv.onnx", convolution_model(SIZE, 64, 4096), server_core, client_cores),
            *_compared(folder / "plain" / "conv.onnx", convolution_model(SIZE, 128, 64), server_core, client_cores)[:1],
        ]


def _compared(model: Path, data: bytes, server_core: Sequence[int], client_cores: Sequence[int]) -> list[Figure]:
    model.parent.mkdir(exist_ok=True)
    model.write_bytes(data)
    ask = request("POST", "/predict", {"inputs": {"image": IMAGE.tolist()}})
    with ExitStack() as stack:
        without = stack.enter_context(_serving(model, server_core, "--max-batch", "1"))
        batching = stack.enter_context(_serving(model, server_core))
        pairs: list[tuple[Seen, Seen]] = []
        for _ in range(ROUNDS):
            alone, together = (
                ask_in_a_crowd(server.port, ask, CLIENTS, ROUND_S, client_cores) for server in (without, batching)
            )
            pairs.append((alone, together))
        size, run_s = batching.batches()
        half = median([together.rate for _, together in pairs]) / 2
        paced = [ask_in_a_crowd(batching.port, ask, CLIENTS, ROUND_S, client_cores, half) for _ in range(ROUNDS)]
    gain = median([together.rate / alone.rate for alone, together in pairs])
    p99_s = median([together.p99_s for _, together in pairs])
    # All ask again at once: who just misses a call waits for the rest of that and for a round of all (Little: that is
    # what an answer takes on average, whatever the server does).
    bound_s = run_s + CLIENTS / (2 * half) + DELAY_S
    paced_s = median([seen.p99_s for seen in paced])
    rates = " and ".join(f"{median(each):.0f}" for each in zip(*((a.rate, t.rate) for a, t in pairs), strict=True))
    is_bar = "plain" not in model.parts
    what = "a dense layer behind" if is_bar else "convolutions only, for information"
    return [
        Figure(
            f"batching, {CLIENTS} clients, {what}",
            f"≥ {LEAST_GAIN}-fold" if is_bar else "",
            f"{gain:.2f} ({rates} requests/s, batches of {size})",
            gain >= LEAST_GAIN if is_bar else None,
        ),
        Figure(
            "p99 with batching at half of that rate",
            f"≤ a call and {DELAY_S * 1000:g} ms: {(run_s + DELAY_S) * 1000:.1f} ms",
            f"{paced_s * 1000:.1f} ms (a call of {size} takes {run_s * 1000:.1f} ms)",
            paced_s <= run_s + DELAY_S,
        ),
        Figure(
            "the same where all ask again at once",
            f"≤ a round of all beside: {bound_s * 1000:.1f} ms",
            f"{p99_s * 1000:.1f} ms (a round is {CLIENTS / (2 * half) * 1000:.1f} ms)",
            p99_s <= bound_s,
        ),
    ]


def _cores() -> tuple[Sequence[int], Sequence[int]]:
    """A core for the server, and the others for the clients; none where they cannot be told apart."""
    if sys.platform != "linux" or shutil.which("taskset") is None:
        return (), ()
    cores = sorted(os.sched_getaffinity(0))
    return (cores[:1], cores[1:]) if len(cores) > 1 else ((), ())


@contextmanager
def _serving(model: Path, cores: Sequence[int], *options: str) -> Iterator[Server]:
    pinned = ["taskset", "-c", ",".join(map(str, cores))] if cores else []
    command = [*pinned, sys.executable, "-m", "serving", "--model", str(model), "--port", "0", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            address = process.stdout.readline().decode().strip()
            told = b""
            while b" is ready " not in told:
                line = process.stderr.readline()
                if not line:
                    raise Broken(f"the model server ended: {told.decode()}")
                told += line
            yield Server(int(address.rpartition(":")[2]))
        finally:
            process.terminate()
