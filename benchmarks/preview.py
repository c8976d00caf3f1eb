"""The first rows of a large Parquet and a large CSV over HTTP, of a wide table, and a list of many of these.

A variable sets the size of the large ones, PORTSIDE_BENCH_PREVIEW_MIB: the bar's own is 5120, the default 256. They are
copied into the store; described they are by their beginning or footer, which is not what is measured here.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from benchmarks.figures import Figure, quantile
from benchmarks.platform import MIB, Broken, OneProcess, fresh_folder, processor_s, running
from benchmarks.wire import Connection, request

SIZE_MIB = int(os.environ.get("PORTSIDE_BENCH_PREVIEW_MIB", "256"))
TRIES = 100
LIMIT_MS, LIST_LIMIT_MS = 200.0, 100.0
COLUMNS, ROWS = 40, 50_000  # of a block that the large ones repeat
WIDE_COLUMNS, WIDE_ROWS, COPIES = 10_000, 60, 200
DATASETS = "/api/v1/datasets"
MAKE_S = 600.0


def measure() -> list[Figure]:
    """Each in turn, on one platform."""
    with fresh_folder() as data:
        lake = data.parent / "lake"
        lake.mkdir()
        settings = {"PORTSIDE_FILE_ROOTS": str(lake), "PORTSIDE_DESCRIBE_BYTES": str(MIB)}
        with running(data, settings=settings) as platform:
            made = {f"{SIZE_MIB} MiB of {name}": name for name in _make_large(platform, lake)}
            _write_wide(lake / "wide")
            made[f"{WIDE_COLUMNS} columns"] = _bring(platform, lake / "wide")
            figures = [
                figure
                for what, name in made.items()
                for rows in (50, 500)
                for figure in _look(
                    platform, f"{what}, {rows} rows", f"{DATASETS}/{name}/preview?rows={rows}", LIMIT_MS
                )
            ]
            figures += _look(platform, f"describe {WIDE_COLUMNS} columns", f"{DATASETS}/wide", LIMIT_MS)
            return [*figures, *_list(platform)]


def _make_large(platform: OneProcess, lake: Path) -> list[str]:
    block = _block(COLUMNS, ROWS)
    names = []
    writers: Mapping[str, Callable[[Path, pa.Table], None]] = {"parquet": _write_parquet, "csv": _write_csv}
    for name, write in writers.items():
        write(lake / name, block)
        names.append(_bring(platform, lake / name))
        (lake / name).unlink()
    return names


def _block(columns: int, rows: int) -> pa.Table:
    numbers = np.random.default_rng(7)
    return pa.table({f"column_{index}": numbers.normal(size=rows) for index in range(columns)})


def _write_parquet(file: Path, block: pa.Table) -> None:
    with parquet.ParquetWriter(file, block.schema, compression="none", use_dictionary=False) as writer:
        while file.stat().st_size < SIZE_MIB * MIB:
            writer.write_table(block)


def _write_csv(file: Path, block: pa.Table) -> None:
    with file.open("wb") as handle:
        csv.write_csv(block, handle)
        rows = pa.BufferOutputStream()
        csv.write_csv(block, rows, csv.WriteOptions(include_header=False))
        text = rows.getvalue()
        while handle.tell() < SIZE_MIB * MIB:
            handle.write(text)


def _write_wide(file: Path) -> None:
    parquet.write_table(_block(WIDE_COLUMNS, WIDE_ROWS), file)


def _bring(platform: OneProcess, file: Path) -> str:
    """A dataset that is a copy of the file, under its name."""
    wish = {"name": file.name, "source_uri": file.as_uri()}
    operation = platform.call("POST", DATASETS, wish).document
    deadline = time.monotonic() + MAKE_S
    while not operation["done"]:
        if time.monotonic() > deadline:
            raise Broken(f"{file.name} is not described after {MAKE_S} s")
        operation = platform.get(f"/api/v1/operations/{operation['id']}:wait?timeout=10")
    platform.finish(operation)
    return file.name


def _look(platform: OneProcess, what: str, path: str, limit_ms: float, tries: int = TRIES) -> list[Figure]:
    with Connection(platform.address) as connection:
        ask = request("GET", path)
        used, took, size_bytes = processor_s([platform.process.pid]), list[float](), 0
        for _ in range(tries):
            began = time.perf_counter()
            answer = connection.exchange(ask)
            took.append(1000 * (time.perf_counter() - began))
            if answer.status != 200:
                raise Broken(f"{path} was answered {answer.status}: {answer.body[:300].decode(errors='replace')}")
            size_bytes = len(answer.body)
        used = (processor_s([platform.process.pid]) - used) / tries
    told = f"{_in_words(took)}; {1000 * used:.1f} ms of processor, {size_bytes / 1000:.0f} kB"
    return [Figure(what, f"≤ {limit_ms:g} ms", told, max(took) <= limit_ms)]


def _in_words(took: Sequence[float]) -> str:
    return f"p50 {quantile(took, 0.5):.1f} max {max(took):.1f} ms of {len(took)}"


def _list(platform: OneProcess) -> list[Figure]:
    """All copies of the wide one on one page."""
    for number in range(COPIES):
        answer = platform.call("POST", DATASETS, {"name": f"copy-{number}", "dataset": "wide"})
        if answer.status >= 300:
            raise Broken(f"a copy was answered {answer.status}: {answer.body[:300].decode(errors='replace')}")
    process = Path(f"/proc/{platform.process.pid}/status")
    before = _peak_mib(process)
    what = f"a page of {COPIES} datasets of {WIDE_COLUMNS} columns"
    figures = _look(platform, what, f"{DATASETS}?page_size={COPIES}", LIST_LIMIT_MS, TRIES // 5)
    return [*figures, Figure("  its memory above the peak before", "", f"{_peak_mib(process) - before:.0f} MiB")]


def _peak_mib(process: Path) -> float:
    lines = process.read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
