"""Loads and unloads a model many times in one process, and prints its resident memory after each, in bytes."""

import gc
import sys
from pathlib import Path

import psutil

from serving.loading import load_scorer
from serving.score import Identity


def main(path: Path, cycles: int) -> None:
    """Open, predict, close, as often as asked."""
    process = psutil.Process()
    for _ in range(cycles):
        loaded = load_scorer(path, None, Identity("cycles", "cycles", "cycles", "1"), threads=1)
        loaded.scorer.close()
        del loaded
        gc.collect()
        print(process.memory_info().rss, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
