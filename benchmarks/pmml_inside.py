"""PyPMML under JPype and our engine, in turns in one Java: prints the seconds of each try as a JSON object.

Java has both compilers, as with PyPMML's own start and as in a replica. PyPMML is asked in its quickest ways: one
row as a list, many as one JSON table or as a list of lists.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from pypmml import Model
from pypmml.base import PMMLContext
from pypmml.jvm import JPypeGateway

from serving.engines.pmml_jvm import LASTS_VARIABLE
from serving.loading import open_model
from serving.score import Identity, Scorer

ROWS, TRIES, CALLS, WARM_UPS = 1000, 40, 50, 100
Timed = Callable[[], object]


def main(path: Path) -> None:
    """Warm up, then measure."""
    os.environ[LASTS_VARIABLE] = "1"
    opened = open_model(path, None, threads=1)
    PMMLContext(gateway_instance=JPypeGateway())
    bare, ours = Model.fromFile(str(path)), opened.model
    scorer = Scorer(opened.signature, ours, Identity("pmml", "pmml", "pmml", "1"))
    names = [field.name for field in opened.signature.inputs]
    table = np.random.default_rng(1).uniform(0, 8, (ROWS, len(names))).round(2)
    rows, row = table.tolist(), table[0].tolist()
    many = {name: table[:, at].astype(np.float32) for at, name in enumerate(names)}
    one = {name: column[:1] for name, column in many.items()}
    asked = json.dumps({"columns": names, "data": rows})
    asked_one = json.dumps({"inputs": dict(zip(names, row, strict=True))}).encode()
    told = {
        "one": _in_turns(
            {
                "bare": _often(lambda: bare.predict(row)),
                "engine": _often(lambda: ours.predict(one)),
                "json": _often(lambda: scorer.predict(asked_one)),
            }
        ),
        "many": _in_turns(
            {
                "bare": lambda: str(bare.predict(asked)),
                "bare lists": lambda: bare.predict(rows),
                "engine": lambda: ours.predict(many),
                "json": lambda: scorer.predict(asked.encode()),
            }
        ),
    }
    print(json.dumps(told))


def _often(call: Timed) -> Timed:
    def calls() -> None:
        for _ in range(CALLS):
            call()

    return calls


def _in_turns(ways: Mapping[str, Timed]) -> dict[str, list[float]]:
    for way in ways.values():
        for _ in range(WARM_UPS):
            way()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TRIES):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - begun)
    return taken


if __name__ == "__main__":
    main(Path(sys.argv[1]))
