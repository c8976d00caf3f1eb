"""What a person waits for who asks the command line: its help, and how a running platform is."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from benchmarks.figures import Figure, median
from benchmarks.platform import EXAMPLES, ROOT, Broken, fresh_folder, running

TRIES = 15
HELP_S = 0.25
STATUS_S = 0.4


def measure() -> list[Figure]:
    """In turns, so that the machine's noise is in both; the bar is the best, which is what the command itself needs."""
    took: Mapping[str, list[float]] = {"--help": [], "status": []}
    bare, used = list[float](), list[float]()
    with fresh_folder() as data, running(data) as platform:
        platform.serve(EXAMPLES / "iris.onnx", "iris")
        port = platform.address[1]
        for _ in range(TRIES):
            bare.append(_timed(["-c", "pass"], port))
            for words, samples in took.items():
                before = _processor_s()
                samples.append(_timed(["-P", "-m", "portside", words], port))
                if words == "status":
                    used.append(_processor_s() - before)
    return [
        _figure("portside --help", HELP_S, took["--help"]),
        _figure("portside status", STATUS_S, took["status"]),
        Figure("  processor time of a status", "", _in_words(used)),
        Figure("  Python that does nothing", "", _in_words(bare)),
    ]


def _processor_s() -> float:
    """What the commands that have ended have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _timed(words: Sequence[str], port: int | str) -> float:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PORTSIDE_API": f"http://127.0.0.1:{port}"}
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode:
        raise Broken(f"{' '.join(words)} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return took


def _figure(bar: str, limit_s: float, samples: Sequence[float]) -> Figure:
    return Figure(bar, f"best ≤ {limit_s:g} s", _in_words(samples), min(samples) <= limit_s)


def _in_words(samples: Sequence[float]) -> str:
    return f"best {min(samples):.3f} s, median {median(samples):.3f}, max {max(samples):.3f} of {len(samples)}"
