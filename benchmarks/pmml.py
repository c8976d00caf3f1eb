"""A PMML forest in our engine against PyPMML under JPype, side by side in one process."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, median
from benchmarks.platform import EXAMPLES, ROOT, Broken

LEAST = {"one": 0.7, "many": 0.9}
CALLED = {"one": "one row", "many": "1,000 rows"}
# PyPMML's quickest way counts.
BARE = {"one": ("bare",), "many": ("bare", "bare lists")}


def measure() -> list[Figure]:
    """Our engine's share of PyPMML's speed, and that of a whole prediction in JSON, by the medians."""
    told: Mapping[str, Mapping[str, Sequence[float]]] = _inside("benchmarks.pmml_inside", EXAMPLES / "iris.pmml")
    return [figure for rows, taken in told.items() for figure in _figures(rows, taken)]


def pmml_row_s(rows: int) -> float:
    """The seconds of the processor that PyPMML takes for one of so many rows in its quickest way."""
    return float(_inside("benchmarks.pmml_columns_inside", EXAMPLES / "iris.pmml", str(rows)))


def _inside(module: str, *arguments: str | Path) -> Any:
    command = [sys.executable, "-P", "-m", module, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"the PMML measurement ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)


def _figures(rows: str, taken: Mapping[str, Sequence[float]]) -> list[Figure]:
    bare_s = min(median(taken[way]) for way in BARE[rows])
    engine, whole = bare_s / median(taken["engine"]), bare_s / median(taken["json"])
    return [
        Figure(
            f"PMML forest, {CALLED[rows]}: engine to PyPMML", f"≥ {LEAST[rows]}", f"{engine:.2f}", engine >= LEAST[rows]
        ),
        Figure("  the same from JSON to JSON", "", f"{whole:.2f}"),
    ]
