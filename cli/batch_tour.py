"""The second half of the main job, as an outside client does it: rows become a dataset, a batch job scores them."""

import csv
import io
import time
from pathlib import Path

from cli.client import Document, Platform
from cli.datasets import DATASETS, dataset_path
from cli.failure import CommandFailed
from cli.jobs import JOBS, job_path
from cli.operations import operation_of, wait_for
from cli.output import Output
from cli.tour import Journal

PATIENCE_S = 120.0
COPIES = 200
NAME = "iris-rows"


def score_rows(platform: Platform, file: Path, model: str, journal: Journal) -> None:
    """Score a CSV, many times over, with the newest version of a model. Raises `CommandFailed` for any fault."""
    print(f"\n{file.name}")
    dataset = _made(platform, _many(file), journal)
    run = _run(platform, model, journal)
    _compare(platform, run, dataset, journal)


def _many(file: Path) -> bytes:
    """The file's rows again and again, numbered, as a table that is worth a batch."""
    header, *rows = file.read_text("utf-8").splitlines()
    numbered = (f"{number},{row}" for number, row in enumerate(rows * COPIES))
    return "\n".join([f"row,{header}", *numbered, ""]).encode()


def _made(platform: Platform, rows: bytes, journal: Journal) -> Document:
    began = time.perf_counter()
    if platform.find(dataset_path(NAME)) is None:
        answer = platform.send("POST", DATASETS, rows, query={"name": NAME}, headers={"content-type": "text/csv"})
        wait_for(platform, operation_of(platform, answer), PATIENCE_S, Output(quiet=True))
    dataset = platform.get(dataset_path(NAME))
    columns = ", ".join(f"{column['name']} {column['type']}" for column in dataset["columns"])
    journal.line("dataset", f"{dataset['rows']:,} rows: {columns}", began)
    return dataset


def _run(platform: Platform, model: str, journal: Journal) -> Document:
    began = time.perf_counter()
    if platform.find(job_path(NAME)) is None:
        wish = {"name": NAME, "kind": "batch", "model": model, "input": {"dataset": NAME}, "pass_through": ["row"]}
        platform.call("POST", JOBS, {**wish, "output": {"format": "csv"}})
    operation = platform.call("POST", f"{job_path(NAME)}:run", {}).document
    wait_for(platform, operation, PATIENCE_S, Output(quiet=True))
    run = platform.get(f"/api/v1/runs/{operation['target']['id']}")
    words = f"job {NAME}, run {run['number']}: {run['rows_out']:,} rows scored, {run['bad']} bad ones"
    journal.line("batch", words, began)
    return run


def _compare(platform: Platform, run: Document, dataset: Document, journal: Journal) -> None:
    """Every row is there once, in order."""
    began = time.perf_counter()
    made = str(run["output"]["dataset"])
    text = platform.send("GET", f"{dataset_path(made)}/content", None).body.decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    if [row["row"] for row in rows] != [str(number) for number in range(dataset["rows"])]:
        raise CommandFailed(f"the dataset {made} does not have each row once, in order.")
    first = ", ".join(f"{name} {value}" for name, value in list(rows[0].items())[1:])
    journal.line("result", f"dataset {made}, each row once, in order; the first: {first}", began)
