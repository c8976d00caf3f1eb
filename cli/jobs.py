"""Jobs as a client: made, run, changed, deleted; their schedules, and the script that does what a run does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from cli.client import Document, Platform
from cli.failure import CommandFailed, Exit
from cli.output import Columns, Output
from cli.runs import finish_run, run_name, tell_run
from cli.words import age_in_words

JOBS = "/api/v1/jobs"
NO_CONTENT = 204
LISTED: Columns = {
    "name": lambda job: str(job["name"]),
    "kind": lambda job: str(job["kind"]),
    "model": lambda job: f"{job['model']} {job['version']}" if job.get("model") else "",
    "input": lambda job: _input(job),
    "runs by itself": lambda job: _when(job),
    "last run": lambda job: f"{job['last_run']['number']} {job['last_run']['status']}" if job["last_run"] else "",
    "age": lambda job: age_in_words(job["created_at"]),
}
TICKS: Columns = {
    "tick": lambda tick: _time(tick["at"]) + (f" … {_time(tick['until'])}" if tick["until"] else ""),
    "by": lambda tick: str(tick["trigger"]),
    "outcome": lambda tick: str(tick["outcome"]),
    "why": lambda tick: str(tick["reason"] or ""),
    "run": lambda tick: str(tick["run"] or ""),
}


def list_jobs(platform: Platform, filters: Mapping[str, str], limit: int, output: Output) -> None:
    """The newest jobs."""
    found = platform.items(JOBS, page_size=min(limit + 1, 500), **filters)
    output.rows(
        output.newest(found, limit), LISTED, "No jobs yet: `portside jobs create NAME --model M --input D` makes one."
    )


def show_job(platform: Platform, name: str, output: Output) -> None:
    """One job. Raises `CommandFailed`."""
    tell_job(platform.get(job_path(name)), output)


def create_job(platform: Platform, wish: Mapping[str, object], output: Output) -> Document:
    """Make a job, and show it. Raises `CommandFailed`."""
    made = platform.call("POST", JOBS, wish).document
    tell_job(made, output)
    output.say(f"Next: portside jobs run {made['name']}")
    return made


def update_job(platform: Platform, name: str, changes: Mapping[str, object], output: Output) -> None:
    """Change a job (merge patch). Raises `CommandFailed`."""
    tell_job(platform.call("PATCH", job_path(name), changes).document, output)


def run_job(platform: Platform, name: str, changes: Mapping[str, object], output: Output, *, wait_s: float) -> Document:
    """Begin a run, and watch it until it rests where `wait_s` is more than zero. Raises `CommandFailed`."""
    operation = platform.call("POST", f"{job_path(name)}:run", changes).document
    run = platform.get(f"/api/v1/runs/{operation['target']['id']}")
    output.say(f"Run {run_name(run)} has begun.")
    path = f"{job_path(name)}/runs/{run['number']}"
    if wait_s:
        return finish_run(platform, path, output, timeout_s=wait_s)
    tell_run(run, output)
    return run


def delete_job(platform: Platform, name: str, output: Output, *, cascade: bool, wait_s: float) -> None:
    """Delete a job with its runs; what they made stays. Raises `CommandFailed`."""
    query = {"cascade": "true"} if cascade else {}
    headers = {"prefer": f"wait={max(1, min(60, int(wait_s)))}"} if wait_s else {}
    answer = platform.call("DELETE", job_path(name), query=query, headers=headers, timeout_s=wait_s + 10)
    is_over = answer.status == NO_CONTENT  # else it waits for the end of its runs
    output.say(f"The job {name} is {'deleted' if is_over else 'being deleted'}; what its runs made stays.")


def show_script(platform: Platform, name: str, to: Path | None, against: str | None, output: Output) -> None:
    """The script that does what a run does, printed or written to a file. Raises `CommandFailed`."""
    path = f"{job_path(name)}/script"
    text = "".join(platform.stream(path, against=against) if against else platform.stream(path))
    if to is None:
        output.data(text.rstrip("\n"))
        return
    try:
        to.write_text(text, "utf-8")
    except OSError as error:
        raise CommandFailed(f"{to} cannot be written ({error.strerror}).", exit_status=Exit.USAGE) from error
    output.data(str(to))


def show_schedule(platform: Platform, name: str, output: Output) -> None:
    """When the job runs by itself. Raises `CommandFailed`."""
    tell_schedule(platform.get(f"{job_path(name)}/schedule"), output)


def set_schedule(platform: Platform, name: str, wish: Mapping[str, object], output: Output) -> None:
    """Give a job a schedule. Raises `CommandFailed`."""
    if sum(each in wish for each in ("cron", "every", "at")) != 1:
        raise CommandFailed("Say one of --cron, --every and --at.", exit_status=Exit.USAGE)
    tell_schedule(platform.call("PUT", f"{job_path(name)}/schedule", wish).document, output)


def act_on_schedule(platform: Platform, name: str, verb: str, output: Output) -> None:
    """Pause or resume a schedule. Raises `CommandFailed`."""
    tell_schedule(platform.call("POST", f"{job_path(name)}/schedule:{verb}").document, output)


def remove_schedule(platform: Platform, name: str, output: Output) -> None:
    """Take the schedule away. Raises `CommandFailed`."""
    platform.call("DELETE", f"{job_path(name)}/schedule")
    output.say(f"The job {name} runs only when it is told to.")


def backfill(platform: Platform, name: str, wish: Mapping[str, object], output: Output) -> None:
    """Queue the runs of a range of ticks. Raises `CommandFailed`."""
    found = platform.call("POST", f"{job_path(name)}/schedule:backfill", wish).document
    output.rows(found["items"], TICKS, "Nothing waits: the ticks of that range have run, or run now.")


def list_ticks(platform: Platform, name: str, limit: int, output: Output) -> None:
    """What became of the ticks of a job. Raises `CommandFailed`."""
    found = platform.items(f"{job_path(name)}/ticks", page_size=min(limit + 1, 500))
    output.rows(output.newest(found, limit), TICKS, "No tick yet.")


def tell_job(job: Document, output: Output) -> None:
    """A job as a sheet of facts."""
    facts = {
        "job": f"{job['name']} ({job['kind']})",
        "model": f"{job['model']} {job['version']}" if job.get("model") else "",
        "input": _input(job),
        "script": str((job.get("script") or {}).get("entry") or ""),
        "reads": ", ".join(
            f"{name}={each}" for name, each in ((job.get("inputs") or {}).get("datasets") or {}).items()
        ),
        "output": _output(job),
        "bad rows": _policy(job),
        "passes on": _passed(job.get("pass_through")),
        "variables": ", ".join(job["env_names"]),
        "runs by itself": _when(job),
        "after": str(job["after"] or ""),
        "last run": f"{job['last_run']['number']}, {job['last_run']['status']}" if job["last_run"] else "",
        "url": str(job["url"]),
    }
    output.sheet(job, facts)


def tell_schedule(schedule: Document, output: Output) -> None:
    """A schedule and its next ticks."""
    facts = {
        "ticks": schedule_in_words(schedule),
        "paused": "yes" if schedule["paused"] else "",
        "between": " … ".join(_time(schedule[each]) for each in ("start", "end")).strip(" …"),
        "jitter": f"{schedule['jitter_s']} s" if schedule["jitter_s"] else "",
        "missed ticks": str(schedule["catch_up"]),
        "while one runs": str(schedule["overlap"]),
        "next": ", ".join(_time(tick) for tick in schedule["next"]),
    }
    output.sheet(schedule, facts)


def schedule_in_words(schedule: Document) -> str:
    """`30 2 * * * (Europe/Berlin)`, `every 900 s` or `at 2026-…`."""
    if schedule["cron"]:
        return f"{schedule['cron']} ({schedule['time_zone']})"
    return f"every {schedule['every_s']} s" if schedule["every_s"] else f"at {_time(schedule['at'])}"


def job_path(name: str) -> str:
    """A job's resource."""
    return f"{JOBS}/{quote(name, safe='')}"


def read_pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """`NAME=VALUE` options as a mapping. Raises `CommandFailed`."""
    pairs = {}
    for text in given:
        name, is_there, value = text.partition("=")
        if not name or not is_there:
            raise CommandFailed(f"{option} {text}: write NAME=VALUE.", exit_status=Exit.USAGE)
        pairs[name] = value
    return pairs


def _time(instant: object) -> str:
    return str(instant or "").replace(".000000Z", "Z")


def _input(job: Document) -> str:
    given = job.get("input") or {}
    read = (job.get("inputs") or {}).get("datasets") or {}  # of a script
    return str(given.get("dataset") or given.get("uri") or ", ".join(sorted(read.values())))


def _output(job: Document) -> str:
    made = job.get("output") or {}
    said = [str(made.get("name") or ""), str(made.get("format") or ""), str(made.get("compression") or "")]
    return ", ".join(each for each in said if each)


def _policy(job: Document) -> str:
    policy = job.get("on_error")
    if not policy:
        return ""
    return f"at most {policy['limit']}" if policy["policy"] == "limit" else str(policy["policy"])


def _passed(columns: object) -> str:
    if columns == "*":
        return "all columns"
    return ", ".join(map(str, columns)) if isinstance(columns, Sequence) else ""


def _when(job: Document) -> str:
    schedule = job["schedule"]
    if schedule is None:
        return f"after {job['after']}" if job["after"] else ""
    return f"{schedule_in_words(schedule)}{', paused' if schedule['paused'] else ''}"
