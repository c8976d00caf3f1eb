"""PyPMML alone over a table: prints the processor's seconds for a row in its quickest way, with Java warmed up."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pypmml import Model
from pypmml.base import PMMLContext

WARM_UP_ROWS, ROWS = 100_000, 80_000


def main(path: Path, count: int) -> None:
    """Measure both ways and print the better."""
    PMMLContext.getOrCreate(gateway="jpype")
    model = Model.fromFile(str(path))
    names = [str(name) for name in model.inputNames]
    rows = np.random.default_rng(1).uniform(0, 8, (count, len(names))).round(2).tolist()
    asked = json.dumps({"columns": names, "data": rows})
    ways: list[Callable[[], object]] = [lambda: str(model.predict(asked)), lambda: model.predict(rows)]
    print(min(_row_s(way, count) for way in ways))


def _row_s(way: Callable[[], object], count: int) -> float:
    for _ in range(WARM_UP_ROWS // count):
        way()
    begun = time.process_time()
    for _ in range(ROWS // count):
        way()
    return (time.process_time() - begun) / (ROWS // count * count)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
