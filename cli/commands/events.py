"""The verb that tells what happens."""

from typing import Annotated

import typer

from cli.commands.target import AsJson, FormatOption, Limit, Quiet, connect, output_of
from cli.format import Format


def events(
    context: typer.Context,
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
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """List what happened, the newest first, or follow what happens, the newest last."""
    from cli.events import follow_events, list_events

    out = output_of(output, as_json, quiet)
    filters = {} if not kind else {"type": kind} if "." in kind else {"type.prefix": f"{kind}."}
    with connect(context) as platform:
        (follow_events if follow else list_events)(platform, filters, limit, out)
