"""Runs: how rows are shown, how far one is, what came of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from api.links import Links
from api.schemas.base import Answer, Instant
from api.schemas.datasets import DatasetShown, dataset_document
from api.schemas.jobs import SpecShown, shown_spec
from api.schemas.resource import about
from api.schemas.run_reports import ReportShown, report_document
from core.errors import Json
from state.datatables import Dataset
from state.documents import instant
from state.jobtables import Run, RunReport
from state.queries.runs import RunFacts

COUNTED = ("rows_in", "rows_out", "bad")
STAGES = ("read", "score", "write")


class RunProgressShown(Answer):
    """How far a run is; what cannot be told yet is null."""

    rows: int
    rows_total: int | None
    rows_per_s: float | None
    eta_s: float | None
    percent: float | None
    detail: str | None


class MadeShown(Answer):
    """A dataset that a run made; its name while it is there."""

    dataset: str
    url: str


class RunUrls(Answer):
    """What can be read of a run, and where its verbs are sent."""

    self: str
    logs: str
    result: str
    metrics: str
    history: str
    events: str
    pause: str
    resume: str
    stop: str


class RunShown(Answer):
    """One execution of a job: how far it is, what it reads and what it made.

    `duration_s` is how long its processes have worked: neither pauses count nor waiting for their turn.
    """

    id: str
    job: str
    number: int
    name: str
    kind: str
    status: str
    reason: str | None
    message: str | None
    since: Instant
    generation: int
    etag: str
    trigger: str = Field(description="`manual`, `schedule`, `backfill` or `after`.")
    scheduled_for: Instant | None
    created_at: Instant
    updated_at: Instant
    started_at: Instant | None
    completed_at: Instant | None
    duration_s: float
    progress: RunProgressShown
    seen_at: Instant | None = Field(description="The last sign of life of its process, while there is one.")
    rows_in: int
    rows_out: int
    bad: int
    model: str | None
    version: str | None = Field(description="Null until it has begun: only then it is certain.")
    input: str | None
    output: MadeShown | None
    bad_rows: MadeShown | None
    error: dict[str, Any] | None
    retries: int
    env_names: list[str]
    args: list[str] | None = Field(description="Null in a list.")
    spec: SpecShown
    urls: RunUrls
    operation: str | None


class RunPage(Answer):
    """One page of runs."""

    items: list[RunShown]
    next_page_token: str | None
    total: int | None = None


class RegisteredShown(Answer):
    """A file of a script that became a version of a model."""

    path: str
    model: str
    version: str
    url: str


class ResultShown(Answer):
    """What came of a run; `urls` of a dataset are its rows and its preview. One that was deleted since is null."""

    run: str
    status: str
    rows_in: int
    rows_out: int
    bad: int
    output: DatasetShown | None
    bad_rows: DatasetShown | None
    registered: list[RegisteredShown] = Field(description="Of a script: versions that were made of its files.")
    artifacts: str | None = Field(description="Of a script: where the files are listed that it left.")
    error: dict[str, Any] | None


class SecondsShown(Answer):
    """Where the time went, summed over everything that worked at the same time."""

    read: float | None
    score: float | None
    write: float | None


class RunMetricsShown(Answer):
    """A run in figures; what is not known, or not yet, is null."""

    run: str
    status: str
    duration_s: float
    rows_in: int
    rows_out: int
    bad: int
    rows_per_s: float | None
    chunks: int
    bytes: int | None
    seconds: SecondsShown
    cpu_s: float | None
    memory_bytes: int | None
    retries: int
    reports: list[ReportShown] = Field(description="Of a script: what it reported, from behind `after` on.")


def run_document(facts: RunFacts, links: Links) -> dict[str, Json]:
    """The run object."""
    row = facts.row
    path = run_path(row)
    read = row.spec.get("input") or {}
    shown = about(row)
    for name in ("display_name", "description", "tags"):
        del shown[name]
    return {
        "id": row.id,
        "job": row.job_name,
        "number": row.number,
        "name": row.name,
        "kind": row.kind,
        **shown,
        "trigger": row.trigger,
        "scheduled_for": instant(row.scheduled_for),
        "started_at": instant(row.started_at),
        "completed_at": instant(row.completed_at),
        "duration_s": round(facts.worked_s, 3),
        "progress": _progress(facts),
        "seen_at": instant(facts.seen_at),
        **_counts(facts),
        "model": facts.model,
        "version": facts.version,
        "input": facts.input or read.get("dataset") or read.get("uri"),
        "output": _made(facts.output, links),
        "bad_rows": _made(facts.bad_rows, links),
        "error": _error(row),
        "retries": row.retries,
        "env_names": list(row.env_names),
        "args": row.spec.get("args"),
        "spec": shown_spec(row.spec),
        "urls": _urls(links.to(path)),
        "operation": links.operation(facts.operation.id) if facts.operation else None,
    }


def run_path(row: Run) -> str:
    """Where a run is read."""
    return f"/api/v1/jobs/{row.job_name}/runs/{row.number}"


def result_document(facts: RunFacts, output: Dataset | None, bad_rows: Dataset | None, links: Links) -> dict[str, Json]:
    """What came of a run."""
    row = facts.row
    return {
        "run": row.id,
        "status": str(row.status),
        **_counts(facts),
        "output": _result(output, links),
        "bad_rows": _result(bad_rows, links),
        "registered": _registered(row, links),
        "artifacts": links.to(f"{run_path(row)}/artifacts") if row.kind == "script" else None,
        "error": _error(row),
    }


def run_metrics_document(facts: RunFacts, reports: Sequence[RunReport] = ()) -> dict[str, Json]:
    """A run in figures, at its end from its summary, before from what its process tells."""
    row, told = facts.row, _told(facts)
    seconds = told.get("seconds") or {}
    chunks = facts.tally.chunks if facts.tally else told.get("chunks") or 0
    return {
        "run": row.id,
        "status": str(row.status),
        "duration_s": round(facts.worked_s, 3),
        **_counts(facts),
        "rows_per_s": told.get("rows_per_s"),
        "chunks": chunks,
        "bytes": told.get("bytes"),
        "seconds": {stage: seconds.get(stage) for stage in STAGES},
        "cpu_s": told.get("cpu_s"),
        "memory_bytes": told.get("memory_bytes"),
        "retries": row.retries,
        "reports": [report_document(each) for each in reports],
    }


def _told(facts: RunFacts) -> Mapping[str, Any]:
    return facts.row.summary or facts.progress or {}


def _counts(facts: RunFacts) -> dict[str, int]:
    """Rows: of a live run those that its ledger has, and of which nothing can be lost."""
    if facts.row.summary is not None:
        return {name: facts.row.summary.get(name) or 0 for name in COUNTED}
    return {name: 0 if facts.tally is None else getattr(facts.tally, name) for name in COUNTED}


def _progress(facts: RunFacts) -> dict[str, Json]:
    """What the process tells, completed by what is known of the input; before there is one, what is waited for."""
    told, row = _told(facts), facts.row
    rows = int(told.get("rows") or _counts(facts)["rows_in"])
    total: int | None = told.get("rows_total") or facts.input_rows
    if row.status == "succeeded":
        total = rows
    rate: float | None = told.get("rows_per_s")
    percent = round(min(100.0, 100 * rows / total), 1) if total else None
    if row.kind == "script":
        percent, total = told.get("percent"), None
    eta_s = round(max(0, total - rows) / rate, 1) if total and rate and row.status == "running" else None
    waits_for = facts.operation.waiting_for if facts.operation is not None and not rows else None
    return {
        "rows": rows,
        "rows_total": total,
        "rows_per_s": rate,
        "eta_s": eta_s,
        "percent": 100.0 if row.status == "succeeded" else percent,
        "detail": told.get("detail") or waits_for,
    }


def _error(row: Run) -> dict[str, Any] | None:
    if row.status != "failed":
        return None
    return row.error or {"code": row.reason, "title": "The run failed", "detail": row.message}


def _made(name: str | None, links: Links) -> dict[str, Json] | None:
    return None if name is None else {"dataset": name, "url": links.to(f"/api/v1/datasets/{name}")}


def _result(row: Dataset | None, links: Links) -> dict[str, Json] | None:
    return None if row is None or row.status == "deleted" else dataset_document(row, links)


def _registered(row: Run, links: Links) -> list[dict[str, Json]]:
    made = (row.summary or {}).get("registered") or ()
    return [{**each, "url": links.to(f"/api/v1/models/{each['model']}/versions/{each['version']}")} for each in made]


def _urls(where: str) -> dict[str, Json]:
    below = {name: f"{where}/{name}" for name in ("logs", "result", "metrics", "history", "events")}
    return {"self": where, **below, **{verb: f"{where}:{verb}" for verb in ("pause", "resume", "stop")}}
