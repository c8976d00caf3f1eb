"""Verbs about services."""

from collections.abc import Mapping
from typing import Annotated

import typer

from cli.commands.target import (
    AsJson,
    FormatOption,
    Limit,
    Quiet,
    ServiceName,
    Timeout,
    Wait,
    Yes,
    complete_service,
    confirm,
    connect,
    output_of,
)
from cli.format import Format


def list_services(
    context: typer.Context, output: FormatOption = Format.TABLE, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """List the services: what they serve, how they are, where they answer."""
    from cli.listing import show_services

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        show_services(platform, out)


def status(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A service.", show_default=False, autocompletion=complete_service),
    ] = None,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Tell how the platform is, or how one service is and what happened to it."""
    from cli.listing import show_platform, show_service

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        if name is None:
            show_platform(platform, out)
        else:
            show_service(platform, name, out)


def show(
    context: typer.Context,
    name: ServiceName,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show how one service is, its replicas, and what happened to it last."""
    status(context, name, output, as_json, quiet)


def history(
    context: typer.Context,
    name: ServiceName,
    limit: Limit = 50,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """List each change of a service's status: from, to, by whom, why; the newest first."""
    from cli.fleet import show_history

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        show_history(platform, name, limit, out)


def revisions(
    context: typer.Context,
    name: ServiceName,
    limit: Limit = 50,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """List all that was ever deployed as a service, the newest first."""
    from cli.fleet import show_revisions

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        show_revisions(platform, name, limit, out)


def metrics(
    context: typer.Context,
    name: ServiceName,
    window: Annotated[
        str | None,
        typer.Option(
            "--window", metavar="DURATION", help="30s, 5m, 1h.", show_default="a minute, five minutes and an hour"
        ),
    ] = None,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show what a service and its replicas did lately: predictions, errors, latencies, processor, memory."""
    from cli.service_metrics import show_metrics

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        show_metrics(platform, name, window, out)


def scale(
    context: typer.Context,
    name: ServiceName,
    replicas: Annotated[int, typer.Argument(min=1, metavar="REPLICAS", help="How many.", show_default=False)],
    wait: Wait = True,
    timeout: Timeout = 180,
    quiet: Quiet = False,
) -> None:
    """Give a service more replicas, or fewer."""
    from cli.fleet import scale_service

    out = output_of(quiet=quiet)
    with connect(context) as platform:
        scale_service(platform, name, replicas, out, wait_s=timeout if wait else 0)


def predict(
    context: typer.Context,
    name: ServiceName,
    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="@FILE.json | - | NAME=VALUE…", help="The input.", show_default="the model's own sample"
        ),
    ] = None,
    values: Annotated[
        list[str] | None, typer.Option("--input", "-i", metavar="NAME=VALUE", help="One value of the record.")
    ] = None,
    timeout: Timeout = 60,
) -> None:
    """Ask a service: `predict iris -i age=42 -i job=clerk`, `predict iris @body.json`, or `-` for stdin.

    A value that reads as JSON is taken so (`4.2`, `[1, 2]`, `true`), any other is text. Without an input the model's
    own sample is sent. stdout is the answer.
    """
    from cli.prediction import ask

    with connect(context) as platform:
        ask(platform, name, [*(given or []), *(values or [])], timeout)


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


def pause(
    context: typer.Context, name: ServiceName, wait: Wait = True, timeout: Timeout = 60, quiet: Quiet = False
) -> None:
    """Free a service's processes and keep the service."""
    _change(context, name, "pause", wait, timeout, quiet)


def resume(
    context: typer.Context, name: ServiceName, wait: Wait = True, timeout: Timeout = 180, quiet: Quiet = False
) -> None:
    """Bring a paused service back."""
    _change(context, name, "resume", wait, timeout, quiet)


def restart(
    context: typer.Context, name: ServiceName, wait: Wait = True, timeout: Timeout = 180, quiet: Quiet = False
) -> None:
    """Replace a service's processes by fresh ones."""
    _change(context, name, "restart", wait, timeout, quiet)


def rollback(
    context: typer.Context,
    name: ServiceName,
    to: Annotated[
        int | None,
        typer.Option("--to", min=1, metavar="N", help="The revision.", show_default="what ran before"),
    ] = None,
    wait: Wait = True,
    timeout: Timeout = 180,
    quiet: Quiet = False,
) -> None:
    """Let a service run again what an earlier revision ran; no request fails meanwhile."""
    _change(context, name, "rollback", wait, timeout, quiet, None if to is None else {"revision": to})


def delete(
    context: typer.Context,
    name: ServiceName,
    yes: Yes = False,
    wait: Wait = True,
    timeout: Timeout = 60,
    quiet: Quiet = False,
) -> None:
    """Delete a service. Its model and versions stay."""
    confirm(f"Delete the service {name}?", yes)
    _change(context, name, "delete", wait, timeout, quiet)


def _change(
    context: typer.Context,
    name: str,
    verb: str,
    wait: bool,
    timeout_s: float,
    quiet: bool,
    body: Mapping[str, int] | None = None,
) -> None:
    from cli.changes import change_service

    with connect(context) as platform:
        change_service(platform, name, verb, output_of(quiet=quiet), wait_s=timeout_s if wait else 0, body=body)
