"""What a claim costs beside 10 and beside 10⁶ finished operations, and a page of models among 10² and among 10⁵.

On both databases; the large and the small one are asked in turns, so that the machine's noise is in both figures.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figures import Figure, median, quantile
from benchmarks.platform import ROOT, Broken, fresh_folder
from deploy.stack.child import StackFailed
from deploy.stack.postgres import PostgresServer

LATE_S = 900.0
CLAIM_RATIO = 1.3
LIST_RATIO = 1.5


def measure() -> list[Figure]:
    """Claims by their medians, lists by their 99th percentiles."""
    figures = []
    try:
        with fresh_folder() as folder, ExitStack() as ending:
            postgres = PostgresServer.start(folder / "postgres", durable=False)
            ending.callback(postgres.stop)
            urls = {
                "SQLite": [f"sqlite:///{folder / name}.db" for name in ("small", "large")],
                "PostgreSQL": [postgres.create_database(name) for name in ("small", "large")],
            }
            for where, (small, large) in urls.items():
                figures += _figures(where, _samples(small, large, folder))
    except StackFailed as error:
        raise Broken(str(error)) from error
    return figures


def _figures(where: str, samples: Mapping[str, list[float]]) -> list[Figure]:
    few, many = median(samples["claim small"]), median(samples["claim large"])
    short, long = quantile(samples["list small"], 0.99), quantile(samples["list large"], 0.99)
    return [
        Figure(
            f"claim beside 10 and 10⁶ finished operations, {where}",
            f"≤ {CLAIM_RATIO:g} times",
            f"{many / few:.2f} times ({few:.2f} and {many:.2f} ms, medians of {len(samples['claim small'])})",
            many / few <= CLAIM_RATIO,
        ),
        Figure(
            f"page of models among 10² and 10⁵, p99, {where}",
            f"≤ {LIST_RATIO:g} times",
            f"{long / short:.2f} times ({short:.2f} and {long:.2f} ms of {len(samples['list small'])})",
            long / short <= LIST_RATIO,
        ),
    ]


def _samples(small: str, large: str, folder: Path) -> Mapping[str, list[float]]:
    command = [sys.executable, "-m", "benchmarks.scale_inside", small, large]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LATE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Broken(f"the databases were not filled and asked within {LATE_S:g} s") from None
    if done.returncode:
        raise Broken(f"scale_inside failed: {done.stderr.strip()[-400:]}")
    found: Mapping[str, list[float]] = json.loads(done.stdout)
    return found
