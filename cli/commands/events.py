"""The verb that tells what happens."""

from typing import Annotated

import typer

from cli.commands.target import Limit
from cli.commands.verb import Call, client_verb


@client_verb()
def events(
    call: Call,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C, a line each (JSON: one object a line).")
    ] = False,
    kind: Annotated[
        str | None,
        typer.Option(
            "--type", "-t", help="Only these: service.failed, or service for all of them.", show_default=False
        ),
    ] = None,
    limit: Limit = 20,
) -> None:
    """List what happened, the newest first, or follow what happens, the newest last."""
    from cli.events import follow_events, list_events

    filters = {} if not kind else {"type": kind} if "." in kind else {"type.prefix": f"{kind}."}
    (follow_events if follow else list_events)(call.platform, filters, limit, call.output)
