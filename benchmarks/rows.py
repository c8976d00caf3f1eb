"""1,000 rows of a forest as Arrow, as columns and data, and as CSV, beside the bare engine on the same array.

All in turn in one process with one thread, from the body's bytes to the answer's; then the same with a replica over its
socket, where the client and the kernel take their part.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.figures import Figure, median
from benchmarks.forest import write_forest
from benchmarks.platform import ROOT, fresh_folder
from benchmarks.wire import Connection, request
from serving.answering import predict
from serving.engines.onnx_runtime import open_session
from serving.loading import load_scorer
from serving.media import ARROW
from serving.score import Identity, Scorer

ROWS, FEATURES, TREES, DEPTH = 1000, 20, 100, 8
ROUNDS = 60
LEAST = 0.9  # of the bare engine's rows a second, by Arrow
OUTPUTS = ["label", "probabilities"]
Bodies = Mapping[str, tuple[bytes, str]]  # the body and its content type


def measure() -> list[Figure]:
    """The engine alone and every kind of body, in turn."""
    values = np.random.default_rng(1).normal(size=(ROWS, FEATURES)).astype(np.float32)
    bodies = _bodies(values)
    with fresh_folder() as folder:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "forest.onnx"
        write_forest(file, TREES, DEPTH, FEATURES)
        session = open_session(str(file), 1)
        scorer = load_scorer(file, None, Identity("forest", "forest", "forest", "1"), 1).scorer
        bare: dict[str, Callable[[], object]] = {"engine": lambda: session.run(OUTPUTS, {"x": values})}
        inside = {kind: partial(_answered, scorer, *given) for kind, given in bodies.items()}
        figures = _figures("in process", _in_turn(bare | inside))
        with _replica(file) as replica:
            outside = {kind: partial(_exchanged, replica, _predict(*given)) for kind, given in bodies.items()}
            return figures + _figures("from a replica, one client", _in_turn(bare | outside), is_bar=False)


def _bodies(values: NDArray[np.float32]) -> Bodies:
    names = [f"f{index}" for index in range(FEATURES)]
    vector = pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), FEATURES)})
    columns = pa.table(dict(zip(names, values.T.copy(), strict=True)))
    rows = values.astype(np.float64).round(4).tolist()
    text = "\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)])
    lines = "\n".join(json.dumps({"x": row}) for row in rows)
    return {
        "Arrow, a column of lists": (_stream(vector), ARROW),
        "Arrow, 20 columns": (_stream(columns), ARROW),
        "columns and data": (json.dumps({"columns": names, "data": rows}).encode(), "application/json"),
        "records": (json.dumps({"inputs": [{"x": row} for row in rows]}).encode(), "application/json"),
        "lines": (lines.encode(), "application/x-ndjson"),
        "CSV": (text.encode(), "text/csv"),
    }


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _in_turn(works: Mapping[str, Callable[[], object]]) -> Mapping[str, float]:
    """The median of each one's seconds; all take their turn in each round, so that the machine treats them alike."""
    taken: dict[str, list[float]] = {kind: [] for kind in works}
    for turn in range(ROUNDS + 5):
        for kind, work in works.items():
            began = time.perf_counter()
            work()
            if turn >= 5:  # the first warm caches, and import what is imported once
                taken[kind].append(time.perf_counter() - began)
    return {kind: median(samples) for kind, samples in taken.items()}


def _figures(where: str, seconds: Mapping[str, float], *, is_bar: bool = True) -> list[Figure]:
    engine = seconds["engine"]
    told = [Figure(f"{ROWS} rows, bare engine", "", f"{engine * 1000:.2f} ms, {ROWS / engine:,.0f} rows/s")]
    for kind, taken in seconds.items():
        if kind == "engine":
            continue
        share, is_asked = engine / taken, is_bar and kind.startswith("Arrow")
        measured = f"{share:.2f} of it, {taken * 1000:.2f} ms"
        target = f"≥ {LEAST:g} of the engine" if is_asked else ""
        told.append(Figure(f"{kind}, {where}", target, measured, share >= LEAST if is_asked else None))
    return told


@contextmanager
def _replica(file: Path) -> Iterator[Connection]:
    socket = file.with_name("s")
    command = [sys.executable, "-m", "serving", "--model", str(file), "--socket", str(socket)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()  # it listens
        process.stderr.readline()  # it is ready
        with Connection(str(socket)) as connection:
            yield connection
    finally:
        process.terminate()
        process.communicate()


def _answered(scorer: Scorer, body: bytes, content_type: str) -> None:
    predict(scorer, body, {b"content-type": content_type.encode()}, keeps_going=False)


def _predict(body: bytes, content_type: str) -> bytes:
    return request("POST", "/predict", body, {"content-type": content_type})


def _exchanged(connection: Connection, data: bytes) -> None:
    answer = connection.exchange(data)
    if answer.status != 200:
        sys.exit(f"a prediction was answered {answer.status}: {answer.body[:500].decode(errors='replace')}")
