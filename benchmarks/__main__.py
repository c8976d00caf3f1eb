"""`python -m benchmarks [NAME …]`: measures the bars and prints a table; exit status 1 when one is missed."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping

from benchmarks import (
    batch,
    batching,
    command,
    cycles,
    deploy,
    drain,
    duplicates,
    latency,
    listing,
    pmml,
    predictions,
    preview,
    recovery,
    rolling,
    rows,
    scale,
    soak,
    start,
    throughput,
    upload,
    waiters,
    wakeup,
)
from benchmarks.figures import Figure, load_in_words, print_table
from benchmarks.peers import command as peers
from benchmarks.platform import Broken

BARS: Mapping[str, Callable[[], list[Figure]]] = {
    "start": start.measure,
    "deploy": deploy.measure,
    "latency": latency.measure,
    "upload": upload.measure,
    "throughput": throughput.measure,
    "peers": peers.measure,
    "wakeup": wakeup.measure,
    "duplicates": duplicates.measure,
    "predictions": predictions.measure,
    "drain": drain.measure,
    "scale": scale.measure,
    "recovery": recovery.measure,
    "rolling": rolling.measure,
    "listing": listing.measure,
    "waiters": waiters.measure,
    "command": command.measure,
    "batching": batching.measure,
    "rows": rows.measure,
    "pmml": pmml.measure,
    "batch": batch.measure,
    "preview": preview.measure,
    "cycles": cycles.measure,
    "soak": soak.measure,
}


def main() -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser("python -m benchmarks", description="Measure the bars; all of them by default.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BARS)}; `peers --help` tells its options")
    alone = sys.argv[1:2] == ["peers"]  # it alone has options
    names = ["peers"] if alone else parser.parse_args().names or list(BARS)
    if unknown := [name for name in names if name not in BARS]:
        parser.error(f"there is no bar {unknown[0]!r}; the bars are {', '.join(BARS)}")
    figures = []
    for name in names:
        began = time.perf_counter()
        try:
            figures += peers.measure(sys.argv[2:]) if alone else BARS[name]()
        except Broken as error:
            figures.append(Figure(name, "a figure", str(error)[:200], ok=False))
        print(f"{name}: measured in {time.perf_counter() - began:.0f} s, {load_in_words()}", flush=True)
    print()
    print_table(figures)
    return 1 if any(line.ok is False for line in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
