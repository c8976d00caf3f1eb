"""Verbs for whoever operates a platform: how it is, and what is to rest for a while."""

from enum import StrEnum
from typing import Annotated

import typer

from cli.commands.target import connect, output_of
from cli.commands.verb import Call, client_verb


class Turn(StrEnum):
    """Which way a switch is turned."""

    OFF = "off"
    ON = "on"


@client_verb()
def system(call: Call) -> None:
    """Show the whole installation: its processes, lanes, caretakers, pools, disk and switches."""
    from cli.operating import show_system

    show_system(call.platform, call.output)


def open_(context: typer.Context) -> None:
    """Print the address where the platform shows itself, and open it in a browser when a terminal is there."""
    from cli.operating import open_platform

    with connect(context) as platform:
        open_platform(platform, output_of())


@client_verb()
def switch(
    call: Call,
    turn: Annotated[Turn | None, typer.Argument(help="Which way.", show_default="show all switches")] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="schedules, webhooks, deploys or read_only.")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; everybody who meets it is told.")] = None,
    duration: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="30m, 2h, 1d.", show_default="until it is switched on"),
    ] = None,
) -> None:
    """Switch something off for a while, and on again: `switch off webhooks --reason 'receiver moves' --for 1h`."""
    from cli.operating import show_switches, switch_off, switch_on

    if turn is not None and name is None:
        raise typer.BadParameter("which one? schedules, webhooks, deploys or read_only", param_hint="NAME")
    if turn is None or name is None:
        show_switches(call.platform, call.output)
    elif turn is Turn.ON:
        switch_on(call.platform, name, call.output)
    elif reason is None:
        raise typer.BadParameter("say why: everybody who meets the switch is told", param_hint="--reason")
    else:
        switch_off(call.platform, name, reason, duration, call.output)
