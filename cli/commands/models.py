"""Verbs about models."""

import typer

from cli.commands.target import FormatOption, Quiet, connect
from cli.format import Format


def list_models(context: typer.Context, output: FormatOption = Format.TABLE, quiet: Quiet = False) -> None:
    """List the models and their newest versions."""
    from cli.listing import show_models
    from cli.output import Output

    with connect(context) as platform:
        show_models(platform, Output(output, quiet=quiet))
