"""`portside score`: a file, a model, a scored file. What it makes on the way has names of its own and stays."""

import secrets
from dataclasses import replace
from pathlib import Path

from cli.client import Platform
from cli.datasets import REMOTE, dataset_path, make_dataset, not_here, rows_in_words
from cli.deployment import name_from
from cli.failure import CommandFailed, Exit
from cli.job_wishes import Said, job_wish
from cli.output import Output
from cli.registry import Reference
from cli.runs import checked, download_result, run_name, watch_run
from cli.words import seconds_in_words


def score_file(
    platform: Platform,
    said: Said,
    data: str,
    to: Path | None,
    output: Output,
    *,
    wait_s: float,
    dry_run: bool,
) -> None:
    """Score it and print the file. Raises `CommandFailed`; what was made until then stays to be looked at."""
    is_file = Path(data).is_file()
    if not is_file and not data.lower().startswith(REMOTE) and platform.find(dataset_path(data)) is None:
        raise CommandFailed(f"{data} is no file here, no URL and no dataset.", exit_status=Exit.NOT_FOUND)
    platform.get(Reference.read(str(said.model)).version_path)  # before gigabytes are sent for a slip of the pen
    stem = Path(data).name.split(".")[0] or "data"
    if to is None and is_file:
        not_here(Path(f"{stem}-scored{Path(data).suffix}"))  # before the work and not after it
    # No two scorings share a name, and none is in the way of another dataset of the same file.
    name = f"{name_from(Path(stem))[:30].rstrip('-')}-{secrets.token_hex(3)}"
    whence = f"dataset {name} of {data}" if is_file else data
    output.say(f"Score {whence} with {said.model}, as job {name}")
    if dry_run:
        return
    given = data
    if is_file:
        made = make_dataset(platform, data, {"name": name}, output, wait_s=wait_s)
        output.say(f"Dataset {name}: {rows_in_words(made)} rows, {made['column_count']} columns")
        given = name
    wish = job_wish(None, replace(said, name=name, data=given))
    platform.call("POST", "/api/v1/jobs", wish)
    operation = platform.call("POST", f"/api/v1/jobs/{name}:run", {}).document
    run = checked(watch_run(platform, f"/api/v1/jobs/{name}/runs/1", output, timeout_s=wait_s))
    assert operation["target"]["id"] == run["id"]
    words = f"{run['rows_out']:,} rows scored in {seconds_in_words(run['duration_s'])}"
    output.say(
        words + (f", {run['bad']:,} left out: portside runs download {run_name(run)} --bad-rows" if run["bad"] else "")
    )
    download_result(platform, run_name(run), to, output, bad_rows=False, named=f"{stem}-scored")
