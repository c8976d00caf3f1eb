"""A batch over Parquet and CSV beside the bare engine on the same rows, in turns, each in time of its processor.

The bare engine has its batches in memory, as matrices; over CSV it also reads, as pyarrow does. A variable sets the
rows, PORTSIDE_BENCH_ROWS: ten million is the bar's own size (some 20 minutes), a million the default.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv, parquet

from benchmarks.batch_child import Scored, score
from benchmarks.figures import Figure, median
from benchmarks.forest import write_forest
from benchmarks.platform import EXAMPLES, fresh_folder
from benchmarks.pmml import pmml_row_s
from serving.engines.onnx_forest import load_quick_session
from serving.engines.onnx_runtime import Session, open_session

ROWS = int(os.environ.get("PORTSIDE_BENCH_ROWS", "1000000"))
FEATURES, TREES, DEPTH = 20, 100, 8
ROUNDS = 3
CHUNK_ROWS = 131_072
MILLION, PMML_ROWS = 1_000_000, 300_000
OUTPUTS = ["label", "probabilities"]
LEAST, LEAST_OF_TWO, MOST_MIB, MOST_GROWTH = 0.9, 1.7, 400, 1.05
NAMES = [f"f{index}" for index in range(FEATURES)]
Matrices = list[NDArray[np.float32]]


def measure() -> list[Figure]:
    """Speed by Parquet and by CSV, what a second thread gains, and memory over ten times the rows."""
    with fresh_folder() as folder:
        folder.mkdir(parents=True, exist_ok=True)
        model = folder / "forest.onnx"
        write_forest(model, TREES, DEPTH, FEATURES)
        session = open_session(str(model), 1)
        table = _table(ROWS, FEATURES)
        figures = [*_by_parquet(session, model, table, folder), *_by_csv(session, model, table, folder)]
        del table
        return [*figures, *_memory(folder), *_pmml(folder)]


def _by_parquet(session: Session, model: Path, table: pa.Table, folder: Path) -> list[Figure]:
    file = folder / "rows.parquet"
    parquet.write_table(table, file, row_group_size=CHUNK_ROWS)
    plan = _plan(file, {"format": "parquet"}, "parquet")
    matrices = [_matrix(table.slice(at, CHUNK_ROWS)) for at in range(0, ROWS, CHUNK_ROWS)]
    bare, ours = _in_turns(lambda: _run_all(session, matrices), lambda: score(model, plan, folder / "out"))
    figures = [_share("Parquet, one core", bare, ours)]
    quick = load_quick_session(model, 1)
    bare_gain, quick_gain, gain = _gains(
        *(_by_clock(each, matrices) for each in (session, quick)),
        lambda threads: score(model, {**plan, "parallelism": threads}, folder / "out").wall_s,
    )
    told = f"{gain:.2f}x, ONNX Runtime alone {bare_gain:.2f}x, the compiled trees alone {quick_gain:.2f}x"
    target = f"≥ {LEAST_OF_TWO}x on two cores of their own"
    return [*figures, Figure("  parallelism 2, by the clock", target, told, gain >= LEAST_OF_TWO)]


def _by_csv(session: Session, model: Path, table: pa.Table, folder: Path) -> list[Figure]:
    file = folder / "rows.csv"
    csv.write_csv(table, file)
    columns = [{"name": name, "type": "float64"} for name in NAMES]
    plan = _plan(file, {"format": "csv", "columns": columns}, "csv")

    def bare() -> None:
        options = csv.ReadOptions(use_threads=False)
        types = csv.ConvertOptions(column_types=dict.fromkeys(NAMES, pa.float64()))
        with csv.open_csv(file, read_options=options, convert_options=types) as batches:
            for batch in batches:
                _run_all(session, [_matrix(batch)])

    return [_share("CSV, one core", *_in_turns(bare, lambda: score(model, plan, folder / "out")))]


def _memory(folder: Path) -> list[Figure]:
    """The most that is held over a million rows and over ten times as many; at the bar's own size a hundred times."""
    model = folder / "small.onnx"
    write_forest(model, 10, 4, FEATURES)
    file = folder / "million.parquet"
    parquet.write_table(_table(MILLION, FEATURES), file, row_group_size=CHUNK_ROWS)
    more = 100 if ROWS >= 10 * MILLION else 10
    peaks = []
    for parts in (1, more):
        plan = _plan(file, {"format": "parquet"}, "parquet")
        plan["input"] = {"files": [str(file)] * parts, "format": {"format": "parquet"}}
        peaks.append(score(model, plan, folder / "out").peak_mib)
    told = f"{peaks[0]:.0f} and {peaks[1]:.0f} MiB over {MILLION:,} and {more * MILLION:,} rows"
    is_flat = peaks[1] <= MOST_MIB and peaks[1] <= peaks[0] * MOST_GROWTH
    return [Figure("  memory of a batch", f"≤ {MOST_MIB} MiB, within 5 %", told, is_flat)]


def _pmml(folder: Path) -> list[Figure]:
    """A PMML forest by columns, once Java has compiled it, beside PyPMML's quickest way in a process of its own."""
    file = folder / "iris.parquet"
    values = np.random.default_rng(1).uniform(0, 8, (4, PMML_ROWS)).round(2)
    names = EXAMPLES.joinpath("iris.csv").read_text("ascii").splitlines()[0].split(",")
    parquet.write_table(pa.table(dict(zip(names, values, strict=True))), file)
    plan = {**_plan(file, {"format": "parquet"}, "parquet"), "chunk_rows": 8192}
    bare_s, ours_s = [], []
    for _ in range(ROUNDS):
        bare_s.append(pmml_row_s(8192))
        scored = score(EXAMPLES / "iris.pmml", plan, folder / "out", warm_up_chunks=PMML_ROWS // 8192 // 2)
        ours_s.append(scored.processor_s / scored.rows)
    return [_share("PMML forest", min(bare_s) * ROWS, min(ours_s) * ROWS)]


def _in_turns(bare: Callable[[], object], ours: Callable[[], Scored]) -> tuple[float, float]:
    """The seconds of the processor that each takes for all rows at best, as whatever runs beside them only adds."""
    bare_s, ours_s = [], []
    for _ in range(ROUNDS):
        begun = time.process_time()
        bare()
        bare_s.append(time.process_time() - begun)
        ours_s.append(ours().processor_s)
    return min(bare_s), min(ours_s)


def _gains(*ways: Callable[[int], float]) -> tuple[float, ...]:
    """How many times as quick each is with two threads as with one: the medians of some rounds, in turns."""
    taken = [[(way(1), way(2)) for way in ways] for _ in range(ROUNDS)]
    return tuple(
        median([one for one, _ in each]) / median([two for _, two in each]) for each in zip(*taken, strict=True)
    )


def _by_clock(session: Session, matrices: Matrices) -> Callable[[int], float]:
    """The seconds that so many threads take for all of them."""

    def took_s(number: int) -> float:
        threads = [threading.Thread(target=_run_all, args=(session, matrices[at::number])) for at in range(number)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - begun

    return took_s


def _share(bar: str, bare_s: float, ours_s: float) -> Figure:
    share = bare_s / ours_s
    measured = f"{share:.2f} of {ROWS / bare_s:,.0f} rows/s"
    return Figure(f"batch, {bar}", f"≥ {LEAST:g} of the bare engine", measured, share >= LEAST)


def _run_all(session: Session, matrices: Matrices) -> None:
    for matrix in matrices:
        session.run(OUTPUTS, {"x": matrix})


def _table(rows: int, features: int) -> pa.Table:
    values = np.random.default_rng(1).normal(size=(features, rows)).astype(np.float32).round(4)
    return pa.table(dict(zip(NAMES, values, strict=False)))


def _matrix(table: pa.Table | pa.RecordBatch) -> NDArray[np.float32]:
    return np.column_stack([column.to_numpy() for column in table.columns]).astype(np.float32, copy=False)


def _plan(file: Path, format_: Mapping[str, object], output: str) -> dict[str, object]:
    return {"input": {"files": [str(file)], "format": format_}, "output": {"format": output}}
