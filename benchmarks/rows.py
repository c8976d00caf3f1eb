"""1,000 rows of a forest as Arrow, as columns and data, and as CSV, beside the bare engine on the same array.

Each in turn with the engine, in one process with one thread, from the body's bytes to the answer's, in time of the
processor; then the same with a replica over its socket, where the client and the kernel take their part, by the clock.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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
WARM_UP = 5  # caches, and what is imported once
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
        engine = partial(session.run, OUTPUTS, {"x": values})
        figures = []
        for kind, given in bodies.items():
            pair = _beside(engine, partial(_answered, scorer, *given), time.process_time)
            figures.append(_figure(f"{kind}, in process", pair))
        with _replica(file) as replica:
            for kind, given in bodies.items():
                pair = _beside(engine, partial(_exchanged, replica, _predict(*given)))
                figures.append(_figure(f"{kind}, from a replica", pair, is_bar=False))
    return figures


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


@dataclass(frozen=True, slots=True)
class _Pair:
    engine_s: float
    whole_s: float


def _beside(
    engine: Callable[[], object], work: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> _Pair:
    """The median of both; they take their turn, so that the machine treats them alike."""
    taken: list[tuple[float, float]] = []
    for _ in range(ROUNDS + WARM_UP):
        began = clock()
        engine()
        between = clock()
        work()
        taken.append((between - began, clock() - between))
    del taken[:WARM_UP]
    return _Pair(median([each for each, _ in taken]), median([each for _, each in taken]))


def _figure(bar: str, pair: _Pair, *, is_bar: bool = True) -> Figure:
    share, is_asked = pair.engine_s / pair.whole_s, is_bar and bar.startswith("Arrow")
    measured = f"{share:.2f} of {ROWS / pair.engine_s:,.0f} rows/s ({pair.whole_s * 1000:.2f} ms)"
    target = f"≥ {LEAST:g} of the bare engine" if is_asked else ""
    return Figure(f"{ROWS} rows, {bar}", target, measured, share >= LEAST if is_asked else None)


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
    """What the replica's route does with the body."""
    if content_type == "application/json":
        scorer.predict(body)
        return
    predict(scorer, body, {b"content-type": content_type.encode()}, keeps_going=False)


def _predict(body: bytes, content_type: str) -> bytes:
    return request("POST", "/predict", body, {"content-type": content_type})


def _exchanged(connection: Connection, data: bytes) -> None:
    answer = connection.exchange(data)
    if answer.status != 200:
        sys.exit(f"a prediction was answered {answer.status}: {answer.body[:500].decode(errors='replace')}")
