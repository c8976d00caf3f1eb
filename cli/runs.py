"""Runs as a client: watched while they work, paused, resumed, stopped; their logs, figures and results."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from cli.client import Document, Platform, refusal
from cli.datasets import dataset_path, not_here, write_content
from cli.failure import CommandFailed, Exit
from cli.output import Columns, Output
from cli.upload import size_in_words
from cli.words import age_in_words, seconds_in_words

FINAL = ("succeeded", "failed", "stopped")
RESTING = (*FINAL, "paused")
HELD_S, LOOK_S, AWAY_S = 10.0, 0.3, 1.0
LISTED: Columns = {
    "run": lambda run: run_name(run),
    "status": lambda run: str(run["status"]),
    "rows": lambda run: _rows(run),
    "bad": lambda run: f"{run['bad']:,}" if run["bad"] else "",
    "took": lambda run: seconds_in_words(run["duration_s"]),
    "by": lambda run: begun_by(run),
    "age": lambda run: age_in_words(run["created_at"]),
}


FILES: Columns = {
    "path": lambda file: str(file["path"]),
    "size": lambda file: size_in_words(file["size_bytes"]),
}


def run_path(named: str, platform: Platform) -> str:
    """A run's resource by `JOB` (its newest), `JOB/NUMBER` or its id. Raises `CommandFailed`."""
    if named.startswith("run_"):
        found = platform.get(f"/api/v1/runs/{quote(named, safe='')}")
        return _path(str(found["job"]), str(found["number"]))
    job, _, number = named.partition("/")
    return _path(job, number or "latest")


def run_name(run: Document) -> str:
    """`churn/3`, as the verbs take it."""
    return f"{run['job']}/{run['number']}"


def list_runs(platform: Platform, job: str | None, filters: Mapping[str, str], limit: int, output: Output) -> None:
    """The newest runs, of all jobs or of one. Raises `CommandFailed`."""
    path = "/api/v1/runs" if job is None else f"/api/v1/jobs/{quote(job, safe='')}/runs"
    found = platform.items(path, page_size=min(limit + 1, 500), **filters)
    output.rows(output.newest(found, limit), LISTED, "No such runs: `portside jobs run NAME` begins one.")


def show_run(platform: Platform, named: str, output: Output) -> None:
    """One run. Raises `CommandFailed`."""
    tell_run(platform.get(run_path(named, platform)), output)


def begun_by(run: Document) -> str:
    """What began it, in words: `manual` is how programs are told."""
    return {"manual": "hand", "after": "another job"}.get(run["trigger"], str(run["trigger"]))


def tell_run(run: Document, output: Output) -> None:
    """How a run is, how far, and what it made."""
    reason = ""
    if run["reason"] and run["status"] != "running":  # of one that failed the error says the rest
        reason = f" ({run['reason']}" + ("" if run["error"] else f": {run['message'] or ''}") + ")"
    progress, made = run["progress"], run["output"] or {}
    facts = {
        "run": run_name(run),
        "status": f"{run['status']}{reason}",
        "progress": "" if run["status"] in FINAL else progress_in_words(progress),
        "rows": _rows(run),
        "bad rows": f"{run['bad']:,}" + (f" in dataset {run['bad_rows']['dataset']}" if run["bad_rows"] else "")
        if run["bad"]
        else "",
        "model": f"{run['model']} {run['version'] or run['spec'].get('version') or ''}" if run["model"] else "",
        "input": str(run["input"] or ""),
        "output": str(made.get("dataset") or "") or _made(run),
        "took": seconds_in_words(run["duration_s"]),
        "retries": str(run["retries"] or ""),
        "error": str((run["error"] or {}).get("detail") or ""),
        "begun by": f"{begun_by(run)}, {age_in_words(run['created_at'])} ago",
        "url": str(run["urls"]["self"]),
    }
    output.sheet(run, facts)


def _made(run: Document) -> str:
    """What became of the files of a script that has succeeded."""
    rules = (run["spec"].get("outputs") or {}) if run["status"] == "succeeded" else {}
    told = []
    for path, rule in rules.items():
        if register := rule.get("register"):
            alias = f"@{register['alias']}" if register.get("alias") else ""
            told.append(f"{path} as a version of {register['model']}{alias}")
        elif rule.get("dataset"):
            told.append(f"{path} as a dataset")
    return ", ".join(told)


def watch_run(platform: Platform, path: str, output: Output, *, timeout_s: float) -> Document:
    """Follow a run until it rests, with a bar for who watches; how it is then.

    Raises `CommandFailed` when it is not at rest in time.
    """
    run = platform.get(path)
    try:
        return _watched(platform, run, output, timeout_s)
    except KeyboardInterrupt:
        output.say(f"Run {run_name(run)} goes on. To watch it again: portside runs watch {run_name(run)}")
        raise


def _watched(platform: Platform, run: Document, output: Output, timeout_s: float) -> Document:
    deadline, is_away = time.monotonic() + timeout_s, False
    path = _path(str(run["job"]), str(run["number"]))  # what `latest` means may change
    with _bar(output) as bar:
        while True:
            bar.show(run)
            if run["status"] in RESTING:
                return run
            left = deadline - time.monotonic()
            if left <= 0:
                raise CommandFailed(
                    f"run {run_name(run)} is not done after {timeout_s:g} s; it goes on.",
                    details=[f"next: portside runs watch {run_name(run)}"],
                    exit_status=Exit.TIMEOUT,
                )
            try:
                held_s = min(left, LOOK_S if output.is_watched else HELD_S)
                # Nothing is held where the platform was away: who watches shall hear at once that it is back.
                run = platform.get(path) if is_away else _later(platform, path, held_s, output)
            except CommandFailed as failed:
                if failed.exit_status not in (Exit.FAILED, Exit.TIMEOUT):
                    raise
                if not is_away:
                    output.say(f"{failed.message} The run is in no danger; looking again until the platform is back.")
                is_away = True
                time.sleep(min(left, AWAY_S))
                continue
            if is_away:
                output.say("The platform is back.")
            is_away = False


def _later(platform: Platform, path: str, held_s: float, output: Output) -> Document:
    """The run after a while, or once it rests."""
    if output.is_watched:
        time.sleep(held_s)
        return platform.get(path)
    return platform.get(f"{path}:wait", timeout=f"{held_s:.2f}")


def finish_run(platform: Platform, path: str, output: Output, *, timeout_s: float) -> Document:
    """Watch it, then tell how it went. Raises `CommandFailed` when it failed or was stopped."""
    run = watch_run(platform, path, output, timeout_s=timeout_s)
    tell_run(run, output)
    return checked(run)


def checked(run: Document) -> Document:
    """A run that did its work, or is paused. Raises `CommandFailed` for one that failed or was stopped."""
    if run["status"] == "failed":
        error = run["error"] or {}
        failed = refusal(int(error.get("status", 500)), error)
        details = [*failed.details, f"next: portside runs logs {run_name(run)}"]
        raise CommandFailed(f"run {run_name(run)} failed: {failed.message}", details=details)
    if run["status"] == "stopped":
        raise CommandFailed(f"run {run_name(run)} was stopped.", exit_status=Exit.CONFLICT)
    return run


def act(platform: Platform, named: str, verb: str, output: Output, *, wait_s: float) -> None:
    """Pause, resume or stop a run; wait for that for `wait_s`. Raises `CommandFailed`."""
    path = run_path(named, platform)
    headers = {"prefer": f"wait={max(1, min(60, int(wait_s)))}"} if wait_s and verb != "resume" else {}
    platform.call("POST", f"{path}:{verb}", headers=headers, timeout_s=wait_s + 10 if wait_s else None)
    tell_run(platform.get(path), output)


def show_logs(platform: Platform, named: str, *, follow: bool) -> None:
    """The end of its log, or with `follow` what is added to it until the run rests. Raises `CommandFailed`."""
    path = f"{run_path(named, platform)}/logs"
    for piece in platform.stream(path, follow="true") if follow else platform.stream(path):
        print(piece, end="", flush=True)


def show_metrics(platform: Platform, named: str, output: Output) -> None:
    """A run in figures. Raises `CommandFailed`."""
    metrics = platform.get(f"{run_path(named, platform)}/metrics")
    facts = {name.replace("_", " "): _figure(value) for name, value in metrics.items() if not isinstance(value, list)}
    output.sheet(metrics, facts)


def download_result(
    platform: Platform, run: str, to: Path | None, output: Output, *, bad_rows: bool, named: str | None = None
) -> None:
    """The dataset that it made, or with `bad_rows` the rows that it left out, into a file, by itself `named` so.

    Raises `CommandFailed`.
    """
    path = run_path(run, platform)
    result = platform.get(f"{path}/result")
    dataset = result["bad_rows" if bad_rows else "output"]
    if dataset is None:
        what = "left out no row" if bad_rows else f"has made no dataset: it is {result['status']}"
        raise CommandFailed(f"run {run} {what}.", exit_status=Exit.NOT_FOUND)
    name = str(dataset["name"])
    write_content(platform, f"{dataset_path(name)}/content", named or name, to, output)


def list_files(platform: Platform, named: str, output: Output) -> None:
    """The files that a script left, in the order of their paths. Raises `CommandFailed`."""
    found = list(platform.items(f"{run_path(named, platform)}/artifacts", page_size=500))
    output.rows(found, FILES, "It left no files.")


def get_file(platform: Platform, named: str, path: str, to: Path | None, output: Output) -> None:
    """One of them, into this file. Raises `CommandFailed`."""
    file = to or not_here(Path(Path(path).name))
    write_content(platform, f"{run_path(named, platform)}/artifacts/{quote(path)}", "", file, output)


def delete_run(platform: Platform, named: str, output: Output) -> None:
    """Forget a run that has ended; its output stays. Raises `CommandFailed`."""
    platform.call("DELETE", run_path(named, platform))
    output.say(f"The run {named} is forgotten; what it made stays.")


def progress_in_words(progress: Document) -> str:
    """`1,048,576 of 3,000,000 rows, 520,000 rows/s, about 4 s to go`."""
    rows, total = progress["rows"], progress["rows_total"]
    words = [f"{rows:,}" + (f" of {total:,}" if total else "") + " rows"] if rows is not None else []
    if (progress["rows_per_s"] or 0) >= 1:
        words.append(f"{progress['rows_per_s']:,.0f} rows/s")
    if progress["eta_s"]:
        words.append(f"{left_in_words(progress['eta_s'])} to go")
    detail = str(progress["detail"] or "")
    if words and detail.startswith(words[0]):  # the platform's own words begin with the rows, too
        detail = detail.removeprefix(words[0]).lstrip("; ")
    if detail:
        words.append(detail)
    elif total and rows == total:
        words.append("putting the result together")
    return ", ".join(words)


def left_in_words(seconds: float) -> str:
    """`about 40 s`, `about 6 min`, `about 3 h`: nobody knows it better."""
    for unit, unit_s in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * unit_s:
            return f"about {seconds / unit_s:.0f} {unit}"
    return f"about {max(1, round(seconds))} s"


class _Bar:
    """The bar of one run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bar = progress.add_task("", total=None, words="")

    def show(self, run: Document) -> None:
        percent = run["progress"]["percent"]
        self._progress.update(
            self._bar,
            description=f"{run_name(run)} {run['status']}",
            completed=percent or 0,
            total=100 if percent else None,
            words=", ".join(filter(None, [progress_in_words(run["progress"]), _tried_again(run)])),
        )


@contextmanager
def _bar(output: Output) -> Iterator[_Bar]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[words]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=output.progress, transient=True, disable=not output.is_watched) as progress:
        yield _Bar(progress)


def _path(job: str, number: str) -> str:
    return f"/api/v1/jobs/{quote(job, safe='')}/runs/{quote(number, safe='')}"


def _rows(run: Document) -> str:
    total = run["progress"]["rows_total"]
    rows = run["progress"]["rows"] if run["status"] not in FINAL else run["rows_in"]
    return "" if not rows else f"{rows:,}" + (f" of {total:,}" if total and total != rows else "")


def _tried_again(run: Document) -> str:
    return f"tried again {run['retries']}x" if run["retries"] else ""


def _whole(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _figure(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_figure(each)}" for name, each in value.items() if each is not None)
    return "" if value is None else f"{value:,.6g}" if isinstance(value, float) else _whole(value)
