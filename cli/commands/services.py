"""Verbs about services."""

from collections.abc import Mapping
from typing import Annotated

import typer

from cli.commands.target import (
    FormParts,
    IsCsv,
    Limit,
    OnErrorOption,
    PartKey,
    ServiceName,
    Timeout,
    Yes,
    complete_service,
    confirm,
    connect,
)
from cli.commands.verb import Call, client_verb


@client_verb()
def list_services(call: Call) -> None:
    """List the services: what they serve, how they are, where they answer."""
    from cli.listing import show_services

    show_services(call.platform, call.output)


@client_verb()
def status(
    call: Call,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A service.", show_default=False, autocompletion=complete_service),
    ] = None,
) -> None:
    """Tell how the platform is, or how one service is and what happened to it."""
    from cli.listing import show_platform, show_service

    if name is None:
        show_platform(call.platform, call.output)
    else:
        show_service(call.platform, name, call.output)


@client_verb()
def show(call: Call, name: ServiceName) -> None:
    """Show how one service is, its replicas, and what happened to it last."""
    from cli.listing import show_service

    show_service(call.platform, name, call.output)


@client_verb()
def history(call: Call, name: ServiceName, limit: Limit = 50) -> None:
    """List each change of a service's status: from, to, by whom, why; the newest first."""
    from cli.fleet import show_history

    show_history(call.platform, name, limit, call.output)


@client_verb()
def revisions(call: Call, name: ServiceName, limit: Limit = 50) -> None:
    """List all that was ever deployed as a service, the newest first."""
    from cli.fleet import show_revisions

    show_revisions(call.platform, name, limit, call.output)


@client_verb()
def metrics(
    call: Call,
    name: ServiceName,
    window: Annotated[
        str | None,
        typer.Option(
            "--window", metavar="DURATION", help="30s, 5m, 1h.", show_default="a minute, five minutes and an hour"
        ),
    ] = None,
) -> None:
    """Show what a service and its replicas did lately: predictions, errors, latencies, processor, memory."""
    from cli.service_metrics import show_metrics

    show_metrics(call.platform, name, window, call.output)


@client_verb(documents=False, waits_s=180)
def scale(
    call: Call,
    name: ServiceName,
    replicas: Annotated[int, typer.Argument(min=1, max=64, metavar="REPLICAS", help="How many.", show_default=False)],
) -> None:
    """Give a service more replicas, or fewer."""
    from cli.fleet import scale_service

    scale_service(call.platform, name, replicas, call.output, wait_s=call.wait_s)


def predict(
    context: typer.Context,
    name: ServiceName,
    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="@FILE.json | @FILE.csv | - | NAME=VALUE…", help="The input.", show_default="the model's own sample"
        ),
    ] = None,
    values: Annotated[
        list[str] | None, typer.Option("--input", "-i", metavar="NAME=VALUE", help="One value of the record.")
    ] = None,
    fields: FormParts = None,
    csv: IsCsv = False,
    on_error: OnErrorOption = None,
    part: PartKey = None,
    timeout: Timeout = 60,
) -> None:
    """Ask a service: `predict iris -i age=42 -i job=clerk`, `predict iris @body.json`, or `-` for stdin.

    A value that reads as JSON is taken so (`4.2`, `[1, 2]`, `true`), any other is text. Without an input the model's
    own sample is sent. `predict iris @rows.csv` (or .tsv) sends rows and prints rows; `-F photo=@photo.npy` sends a
    form; `--part fr` asks one of several models in a version. stdout is the answer.
    """
    from cli.questions import ask, read_question

    asked = read_question([*(given or []), *(values or [])], fields or [], is_csv=csv)
    with connect(context) as platform:
        ask(platform, name, part, asked, on_error, timeout)


def logs(
    context: typer.Context,
    name: ServiceName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Print the logs of a service's replicas."""
    from cli.listing import show_logs

    with connect(context) as platform:
        show_logs(platform, name, follow=follow)


def curl(context: typer.Context, name: ServiceName) -> None:
    """Print the curl command that asks a service with its model's sample."""
    from cli.prediction import curl_for

    with connect(context) as platform:
        typer.echo(curl_for(platform, name))


@client_verb(documents=False, waits_s=60, for_many="services:pause")
def pause(call: Call, name: ServiceName) -> None:
    """Free a service's processes and keep the service. `--where model=iris` means many."""
    _change(call, name, "pause")


@client_verb(documents=False, waits_s=180, for_many="services:resume")
def resume(call: Call, name: ServiceName) -> None:
    """Bring a paused service back, or with `--all` every one."""
    _change(call, name, "resume")


@client_verb(documents=False, waits_s=180)
def restart(call: Call, name: ServiceName) -> None:
    """Replace a service's processes by fresh ones."""
    _change(call, name, "restart")


@client_verb(documents=False, waits_s=180)
def rollback(
    call: Call,
    name: ServiceName,
    to: Annotated[
        int | None,
        typer.Option("--to", min=1, metavar="N", help="The revision.", show_default="what ran before"),
    ] = None,
) -> None:
    """Let a service run again what an earlier revision ran; no request fails meanwhile."""
    _change(call, name, "rollback", None if to is None else {"revision": to})


@client_verb(documents=False, waits_s=60)
def delete(call: Call, name: ServiceName, yes: Yes = False) -> None:
    """Delete a service. Its model and versions stay."""
    confirm(f"Delete the service {name}?", yes)
    _change(call, name, "delete")


def _change(call: Call, name: str, verb: str, body: Mapping[str, int] | None = None) -> None:
    from cli.changes import change_service

    change_service(call.platform, name, verb, call.output, wait_s=call.wait_s, body=body)
