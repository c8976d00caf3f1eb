"""A hundred times a model is loaded, asked and unloaded in one process: its memory stays what it was."""

import os
import subprocess
import sys

from benchmarks.figures import Figure
from benchmarks.platform import EXAMPLES, MIB, ROOT, Broken

CYCLES = 100
SETTLED = 20  # until then allocators, caches and compilers take what they keep
SHARE = 0.02
MODELS = ("iris.onnx", "iris.pmml")


def measure() -> list[Figure]:
    """One process per format."""
    return [_figure(name) for name in MODELS]


def _figure(name: str) -> Figure:
    command = [sys.executable, "-P", "-m", "benchmarks.cycles_inside", str(EXAMPLES / name), str(SETTLED + CYCLES)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"the cycles of {name} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    samples = [int(line) for line in done.stdout.split()][SETTLED - 1 :]
    return flat(f"{CYCLES} loads and unloads of {name}, resident memory", samples)


def flat(bar: str, samples: list[int]) -> Figure:
    """Whether memory has not grown between the first and the last sample; less is fine."""
    first, last = samples[0], samples[-1]
    grown = last / first - 1
    measured = f"{first / MIB:.1f} → {last / MIB:.1f} MiB ({grown:+.1%}), highest {max(samples) / MIB:.1f}"
    return Figure(bar, f"flat (±{SHARE:.0%})", measured, grown <= SHARE)
