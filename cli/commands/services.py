"""Verbs about services."""

from collections.abc import Mapping
from typing import Annotated

import typer

from cli.commands.target import FormatOption, Quiet, ServiceName, Timeout, Wait, connect
from cli.format import Format


def list_services(context: typer.Context, output: FormatOption = Format.TABLE, quiet: Quiet = False) -> None:
    """List the services: what they serve, how they are, where they answer."""
    from cli.listing import show_services
    from cli.output import Output

    with connect(context) as platform:
        show_services(platform, Output(output, quiet=quiet))


def status(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A service.", show_default=False)] = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Tell how the platform is, or how one service is and what happened to it."""
    from cli.listing import show_platform, show_service
    from cli.output import Output

    with connect(context) as platform:
        if name is None:
            show_platform(platform, Output(output))
        else:
            show_service(platform, name, Output(output))


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
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Wait = True,
    timeout: Timeout = 60,
    quiet: Quiet = False,
) -> None:
    """Delete a service. Its model and versions stay."""
    if not yes:
        typer.confirm(f"Delete the service {name}?", abort=True, err=True)
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
    from cli.output import Output

    with connect(context) as platform:
        change_service(platform, name, verb, Output(quiet=quiet), wait_s=timeout_s if wait else 0, body=body)
