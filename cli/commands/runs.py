"""Verbs about runs."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.target import Limit, StatusFilter, Yes, complete_job, confirm
from cli.commands.verb import Call, client_verb, filters

RunName = Annotated[
    str,
    typer.Argument(
        metavar="JOB[/NUMBER]", help="A run, or a job's newest.", show_default=False, autocompletion=complete_job
    ),
]
To = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout.", show_default="its name")
]
BadRows = Annotated[bool, typer.Option("--bad-rows", help="The rows that it left out, each with its reason.")]


@client_verb()
def list_(
    call: Call,
    job: Annotated[
        str | None,
        typer.Argument(metavar="JOB", help="Only of this job.", show_default=False, autocompletion=complete_job),
    ] = None,
    status: StatusFilter = None,
    limit: Limit = 20,
) -> None:
    """List the runs of all jobs, or of one."""
    from cli.runs import list_runs

    list_runs(call.platform, job, filters(status=status), limit, call.output)


@client_verb()
def show(call: Call, name: RunName) -> None:
    """Show a run: how far it is, what it reads and what it made."""
    from cli.runs import show_run

    show_run(call.platform, name, call.output)


@client_verb(waits_s=86400, always_waits=True)
def watch(call: Call, name: RunName) -> None:
    """Watch a run until it rests, with a bar of rows, speed and time to go."""
    from cli.runs import finish_run, run_path

    finish_run(call.platform, run_path(name, call.platform), call.output, timeout_s=call.timeout_s)


@client_verb(documents=False)
def logs(
    call: Call,
    name: RunName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print what is added until it rests.")] = False,
) -> None:
    """Print the log of a run."""
    from cli.runs import show_logs

    show_logs(call.platform, name, follow=follow)


@client_verb(waits_s=60)
def pause(call: Call, name: RunName) -> None:
    """Free the process of a run; `resume` goes on where it was."""
    from cli.runs import act

    act(call.platform, name, "pause", call.output, wait_s=call.wait_s)


@client_verb(waits_s=60)
def resume(call: Call, name: RunName) -> None:
    """Let a paused run go on where it was."""
    from cli.runs import act

    act(call.platform, name, "resume", call.output, wait_s=call.wait_s)


@client_verb(waits_s=60)
def stop(call: Call, name: RunName, yes: Yes = False) -> None:
    """End a run for good."""
    from cli.runs import act

    confirm(f"Stop the run {name} for good?", yes)
    act(call.platform, name, "stop", call.output, wait_s=call.wait_s)


@client_verb()
def metrics(call: Call, name: RunName) -> None:
    """Show a run in figures."""
    from cli.runs import show_metrics

    show_metrics(call.platform, name, call.output)


@client_verb(documents=False)
def download(call: Call, name: RunName, bad_rows: BadRows = False, file: To = None) -> None:
    """Download what a run made."""
    from cli.runs import download_result

    download_result(call.platform, name, file, call.output, bad_rows=bad_rows)


@client_verb()
def files(call: Call, name: RunName) -> None:
    """List the files that a script left."""
    from cli.runs import list_files

    list_files(call.platform, name, call.output)


@client_verb(documents=False)
def get(
    call: Call,
    name: RunName,
    path: Annotated[str, typer.Argument(metavar="PATH", help="The file, as `files` lists it.", show_default=False)],
    file: To = None,
) -> None:
    """Download one file that a script left."""
    from cli.runs import get_file

    get_file(call.platform, name, path, file, call.output)


@client_verb(documents=False)
def delete(call: Call, name: RunName, yes: Yes = False) -> None:
    """Forget a run that has ended; what it made stays."""
    from cli.runs import delete_run

    confirm(f"Forget the run {name}?", yes)
    delete_run(call.platform, name, call.output)
