"""Verbs for whoever operates a platform: how it is, and what is to rest for a while."""

from enum import StrEnum
from typing import Annotated

import typer

from cli.commands.target import AsJson, FormatOption, Quiet, connect, output_of
from cli.format import Format


class Turn(StrEnum):
    """Which way a switch is turned."""

    OFF = "off"
    ON = "on"


def system(
    context: typer.Context, output: FormatOption = Format.TABLE, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """Show the whole installation: its processes, lanes, caretakers, pools, disk and switches."""
    from cli.operating import show_system

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        show_system(platform, out)


def open_(context: typer.Context) -> None:
    """Print the address where the platform shows itself, and open it in a browser when a terminal is there."""
    from cli.operating import open_platform

    with connect(context) as platform:
        open_platform(platform, output_of())


def switch(
    context: typer.Context,
    turn: Annotated[Turn | None, typer.Argument(help="Which way.", show_default="show all switches")] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="schedules, webhooks, deploys or read_only.")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; everybody who meets it is told.")] = None,
    duration: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="30m, 2h, 1d.", show_default="until it is switched on"),
    ] = None,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Switch something off for a while, and on again: `switch off webhooks --reason 'receiver moves' --for 1h`."""
    from cli.operating import show_switches, switch_off, switch_on

    out = output_of(output, as_json, quiet)
    if turn is not None and name is None:
        raise typer.BadParameter("which one? schedules, webhooks, deploys or read_only", param_hint="NAME")
    with connect(context) as platform:
        if turn is None or name is None:
            show_switches(platform, out)
        elif turn is Turn.ON:
            switch_on(platform, name, out)
        elif reason is None:
            raise typer.BadParameter("say why: everybody who meets the switch is told", param_hint="--reason")
        else:
            switch_off(platform, name, reason, duration, out)
