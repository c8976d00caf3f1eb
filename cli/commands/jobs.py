"""Verbs about jobs and their schedules."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.job_options import (
    After,
    Args,
    Data,
    DataFormat,
    Env,
    Into,
    JobFile,
    JobName,
    Maps,
    NewJobName,
    OnError,
    Parallelism,
    PassThrough,
    Scorer,
    To,
)
from cli.commands.script_options import Entry, Keeps, Reads, ReadsModels, Registers, Requirements, Script
from cli.commands.target import Limit, Yes, complete_dataset, complete_model, confirm
from cli.commands.verb import Call, client_verb, filters


@client_verb()
def list_(
    call: Call,
    model: Annotated[str | None, typer.Option("--model", help="Only those that run it.", show_default=False)] = None,
    limit: Limit = 50,
) -> None:
    """List the jobs."""
    from cli.jobs import list_jobs

    list_jobs(call.platform, filters(model=model), limit, call.output)


@client_verb()
def show(call: Call, name: JobName) -> None:
    """Show a job."""
    from cli.jobs import show_job

    show_job(call.platform, name, call.output)


@client_verb()
def create(
    call: Call,
    name: NewJobName = None,
    file: JobFile = None,
    model: Scorer = None,
    data: Data = None,
    into: Into = None,
    format: DataFormat = None,
    pass_through: PassThrough = None,
    maps: Maps = None,
    on_error: OnError = None,
    parallelism: Parallelism = None,
    env: Env = None,
    args: Args = None,
    after: After = None,
    script: Script = None,
    entry: Entry = None,
    requirements: Requirements = None,
    reads: Reads = None,
    reads_models: ReadsModels = None,
    registers: Registers = None,
    keeps: Keeps = None,
) -> None:
    """Make a job that scores a dataset with a model, or runs a script, each time that it is run.

    `portside jobs schedule set` lets it run by itself.
    """
    from cli.job_wishes import Said, job_wish
    from cli.jobs import create_job
    from cli.script_wishes import ScriptSaid, script_wish

    said = Said(name, model, data, into, format, pass_through, maps, on_error, parallelism, env, args, after)
    more = ScriptSaid(script, entry, requirements, reads, reads_models, registers, keeps)
    wish = job_wish(file, said) if more == ScriptSaid(None) else script_wish(call.platform, file, said, more)
    create_job(call.platform, wish, call.output)


@client_verb(waits_s=86400)
def run(
    call: Call,
    name: JobName,
    data: Data = None,
    env: Env = None,
    args: Args = None,
    run_name: Annotated[str | None, typer.Option("--name", help="What to call the run.", show_default=False)] = None,
) -> None:
    """Run a job now, and watch it until it is done; what is said here is for this run alone."""
    from cli.job_wishes import Said, run_wish
    from cli.jobs import run_job

    wish = run_wish(Said(name=run_name, data=data, env=env, args=args))
    run_job(call.platform, name, wish, call.output, wait_s=call.wait_s)


@client_verb(documents=False)
def script(
    call: Call,
    name: JobName,
    file: To = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="`api` or `file`: where the model is.", show_default="file, else api"),
    ] = None,
) -> None:
    """Print a Python script that does what a run does."""
    from cli.jobs import show_script

    show_script(call.platform, name, file, against, call.output)


@client_verb(documents=False, waits_s=60)
def delete(
    call: Call,
    name: JobName,
    cascade: Annotated[bool, typer.Option("--cascade", help="Stop the runs that are under way first.")] = False,
    yes: Yes = False,
) -> None:
    """Delete a job and its runs; what these made stays."""
    from cli.jobs import delete_job

    confirm(f"Delete the job {name} with its runs?", yes)
    delete_job(call.platform, name, call.output, cascade=cascade, wait_s=call.wait_s)


@client_verb()
def ticks(call: Call, name: JobName, limit: Limit = 20) -> None:
    """Show what became of the ticks of its schedule."""
    from cli.jobs import list_ticks

    list_ticks(call.platform, name, limit, call.output)


@client_verb()
def schedule_show(call: Call, name: JobName) -> None:
    """Show when a job runs by itself, and its next five ticks."""
    from cli.jobs import show_schedule

    show_schedule(call.platform, name, call.output)


@client_verb()
def schedule_set(
    call: Call,
    name: JobName,
    cron: Annotated[
        str | None,
        typer.Option("--cron", metavar="'30 2 * * *'", help="Minute, hour, day, month, weekday.", show_default=False),
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", metavar="ZONE", help="Of the cron.", show_default="UTC")
    ] = None,
    every: Annotated[
        str | None, typer.Option("--every", metavar="15m", help="Or so often: 90s, 15m, 6h, 1d.", show_default=False)
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="Or once: 2026-12-24T18:00:00Z.", show_default=False),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", metavar="TIME", help="No tick before it.", show_default=False)
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", metavar="TIME", help="No tick after it.", show_default=False)
    ] = None,
    jitter: Annotated[
        str | None,
        typer.Option("--jitter", metavar="90s", help="So much later at most, by chance.", show_default="none"),
    ] = None,
    catch_up: Annotated[
        str | None, typer.Option("--catch-up", help="Missed ticks: skip, last or all.", show_default="last")
    ] = None,
    overlap: Annotated[
        str | None, typer.Option("--overlap", help="While one runs: skip, queue or replace.", show_default="skip")
    ] = None,
) -> None:
    """Let a job run by itself: by a cron, every so often, or once."""
    from cli.jobs import set_schedule

    said = {"cron": cron, "time_zone": time_zone, "every": every, "at": at, "start": start, "end": end}
    wish = {**said, "jitter": jitter, "catch_up": catch_up, "overlap": overlap}
    set_schedule(call.platform, name, {key: value for key, value in wish.items() if value is not None}, call.output)


@client_verb()
def schedule_pause(call: Call, name: JobName) -> None:
    """Let no tick fire until it is resumed."""
    from cli.jobs import act_on_schedule

    act_on_schedule(call.platform, name, "pause", call.output)


@client_verb()
def schedule_resume(call: Call, name: JobName) -> None:
    """Tick again from now on."""
    from cli.jobs import act_on_schedule

    act_on_schedule(call.platform, name, "resume", call.output)


@client_verb()
def schedule_backfill(
    call: Call,
    name: JobName,
    since: Annotated[str, typer.Option("--from", metavar="TIME", help="The first instant.", show_default=False)],
    to: Annotated[str, typer.Option("--to", metavar="TIME", help="The last one.", show_default=False)],
    again: Annotated[bool, typer.Option("--again", help="Also those that have run.")] = False,
) -> None:
    """Run each tick of a range of the past that has not run, one after another."""
    from cli.jobs import backfill

    backfill(call.platform, name, {"from": since, "to": to, "again": again}, call.output)


@client_verb(documents=False)
def schedule_remove(call: Call, name: JobName) -> None:
    """Take the schedule away."""
    from cli.jobs import remove_schedule

    remove_schedule(call.platform, name, call.output)


@client_verb(waits_s=86400, always_waits=True, documents=False)
def score(
    call: Call,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL[@VERSION]", help="What scores.", show_default=False, autocompletion=complete_model
        ),
    ],
    data: Annotated[
        str,
        typer.Argument(
            metavar="FILE|URL|DATASET",
            help="A file here, a URL, or a dataset.",
            show_default=False,
            autocompletion=complete_dataset,
        ),
    ],
    file: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout.", show_default="DATA-scored"),
    ] = None,
    pass_through: PassThrough = None,
    maps: Maps = None,
    on_error: OnError = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be made.")] = False,
) -> None:
    """Score a file with a model: a dataset, a job, a run and its result in one step."""
    from cli.job_wishes import Said
    from cli.scoring import score_file

    said = Said(model=model, pass_through=pass_through, maps=maps, on_error=on_error)
    score_file(call.platform, said, data, file, call.output, wait_s=call.timeout_s, dry_run=dry_run)
