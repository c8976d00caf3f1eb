"""The `portside` command: its verbs, and the edge where every error becomes a sentence and an exit status."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from cli.commands import (
    apply,
    datasets,
    deploy,
    events,
    jobs,
    models,
    operating,
    operations,
    platform,
    predictions,
    runs,
    services,
    tokens,
    webhooks,
)
from cli.commands.command import Group, Verb
from cli.commands.platform import print_version
from cli.commands.target import ApiOption, PlatformAddress, TokenOption
from cli.failure import CommandFailed, Exit

HELP = """From a trained model file to a live, versioned REST service.

Two commands are enough: `portside up` starts a platform on this machine, and `portside deploy model.onnx` makes a
service of a model file. `portside demo` shows it all.

Data goes to stdout, progress to stderr. Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 conflict,
5 token missing or refused, 6 quota, 124 out of time.
"""
START, WORK, GROUPS = "Start", "Models and services", "Everything there is, each with verbs of its own"
PARTS, MORE = "A platform of several processes", "More"


def build() -> typer.Typer:
    """The command line with all its verbs."""
    app = _group(name="portside", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
    app.callback(help=HELP)(root)
    _add(app, START, platform.up, platform.demo, deploy.deploy, apply.apply)
    app.command("ls", cls=Verb, rich_help_panel=WORK)(models.list_models)
    app.command("list", cls=Verb, hidden=True)(models.list_models)
    app.command("ps", cls=Verb, rich_help_panel=WORK)(services.list_services)
    _add(app, WORK, services.status, services.predict, services.logs, services.curl)
    _add(app, WORK, jobs.score)
    _add(app, WORK, services.pause, services.resume, services.restart, services.rollback, services.delete)
    for name, group in _groups().items():
        app.add_typer(group, name=name, rich_help_panel=GROUPS)
    _add(app, GROUPS, events.events)
    _add(app, PARTS, platform.api, platform.worker, platform.node, platform.migrate)
    _add(app, MORE, operating.open_, operating.system, operating.switch)
    _add(app, MORE, platform.doctor, platform.backup, platform.restore, platform.reference)
    return app


def _groups() -> dict[str, typer.Typer]:
    """A group of verbs for each kind of thing; the short verbs above do the everyday part of it."""
    of_models = _group(help="Models: their versions and aliases.")
    _listed(of_models, models.list_models)
    _add(of_models, None, models.show, models.upload, models.download)
    of_models.command("test", cls=Verb)(models.try_)
    _add(of_models, None, models.update, models.alias, models.delete)
    of_services = _group(help="Services: what they are, were, and how many replicas they have.")
    _listed(of_services, services.list_services)
    _add(of_services, None, services.show, services.metrics, services.history, services.revisions, services.scale)
    _add(of_services, None, services.pause, services.resume, services.restart, services.rollback, services.delete)
    of_operations = _group(help="Operations: what the platform does, has done, and what went wrong.")
    _listed(of_operations, operations.list_)
    _add(of_operations, None, operations.show, operations.wait, operations.cancel, operations.retry)
    of_predictions = _group(help="Predictions that outlive every process.")
    _listed(of_predictions, predictions.list_)
    _add(of_predictions, None, predictions.show, predictions.create, predictions.wait, predictions.cancel)
    of_webhooks = _group(help="Webhooks: who is told what, and what became of it.")
    _listed(of_webhooks, webhooks.list_)
    _add(of_webhooks, None, webhooks.create, webhooks.show, webhooks.delete)
    of_webhooks.command("test", cls=Verb)(webhooks.send_test)
    _add(of_webhooks, None, webhooks.rotate_secret, webhooks.deliveries, webhooks.redeliver)
    of_tokens = _group(help="Tokens: who may talk to the platform.")
    _listed(of_tokens, tokens.list_)
    _add(of_tokens, None, tokens.create, tokens.revoke)
    return {
        "models": of_models,
        "services": of_services,
        **_of_data(),
        "operations": of_operations,
        "predictions": of_predictions,
        "webhooks": of_webhooks,
        "tokens": of_tokens,
    }


def _of_data() -> dict[str, typer.Typer]:
    """What is scored, by what, and each time that it was; who types `rm` is understood."""
    of_datasets = _group(help="Datasets: the tables and files that jobs read and write.")
    _listed(of_datasets, datasets.list_)
    _add(of_datasets, None, datasets.show, datasets.create, datasets.preview, datasets.download, datasets.delete)
    _add(of_datasets, None, datasets.files, datasets.put, datasets.get, datasets.remove)
    of_datasets.command("rm", cls=Verb, hidden=True)(datasets.delete)
    of_jobs = _group(help="Jobs: what scores a dataset, when told to or by itself.")
    _listed(of_jobs, jobs.list_)
    _add(of_jobs, None, jobs.show, jobs.create, jobs.run, jobs.script, jobs.ticks, jobs.delete)
    of_jobs.command("rm", cls=Verb, hidden=True)(jobs.delete)
    of_schedules = _group(help="When a job runs by itself.")
    for verb in (jobs.schedule_show, jobs.schedule_set, jobs.schedule_pause, jobs.schedule_resume):
        of_schedules.command(verb.__name__.removeprefix("schedule_"), cls=Verb)(verb)
    for verb in (jobs.schedule_backfill, jobs.schedule_remove):
        of_schedules.command(verb.__name__.removeprefix("schedule_"), cls=Verb)(verb)
    of_schedules.command("rm", cls=Verb, hidden=True)(jobs.schedule_remove)
    of_jobs.add_typer(of_schedules, name="schedule")
    of_runs = _group(help="Runs: each execution of a job.")
    _listed(of_runs, runs.list_)
    _add(of_runs, None, runs.show, runs.watch, runs.logs, runs.pause, runs.resume, runs.stop)
    _add(of_runs, None, runs.metrics, runs.download, runs.files, runs.get, runs.delete)
    of_runs.command("rm", cls=Verb, hidden=True)(runs.delete)
    return {"datasets": of_datasets, "jobs": of_jobs, "runs": of_runs}


def _group(**about: Any) -> typer.Typer:
    return typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, **about)


def _listed(group: typer.Typer, verb: Callable[..., None]) -> None:
    group.command("ls", cls=Verb)(verb)
    group.command("list", cls=Verb, hidden=True)(verb)


def _add(app: typer.Typer, panel: str | None, *verbs: Callable[..., None]) -> None:
    for verb in verbs:
        app.command(verb.__name__.rstrip("_").replace("_", "-"), cls=Verb, rich_help_panel=panel)(verb)


def root(
    context: typer.Context,
    api: ApiOption = None,
    token: TokenOption = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=print_version, is_eager=True, help="Show the versions of Portside and its engines."
        ),
    ] = False,
) -> None:
    """Keep what all client verbs share: the platform's address."""
    context.obj = PlatformAddress(api, token)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line, this process' own or the given words; returns the exit status.

    Usage errors leave by SystemExit, as typer has it.
    """
    try:
        build()(words, prog_name="portside")
    except CommandFailed as failed:
        say_failure(failed)
        return failed.exit_status
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception as error:
        from cli.bug import keep_traceback

        kept = keep_traceback(error)
        print(f"Error: this is a bug of portside ({type(error).__name__}: {error}). {kept}", file=sys.stderr)
        return Exit.FAILED
    return Exit.OK


def say_failure(failed: CommandFailed) -> None:
    """The sentence and what belongs to it, on stderr."""
    print(f"Error: {failed.message}", *(f"  {line}" for line in failed.details), sep="\n", file=sys.stderr)
