"""The verb that does it all: from a file to a service."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.target import FormatOption, Quiet, Timeout, Wait, connect
from cli.format import Format


def deploy(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An ONNX or PMML model.", show_default=False)],
    name: Annotated[
        str | None, typer.Option("--name", help="The service's name.", show_default="from the file's name")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The model's name.", show_default="as the service")
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option("--replicas", min=1, help="Model servers.", show_default="1, or as many as there are now"),
    ] = None,
    wait: Wait = True,
    timeout: Timeout = 180,
    output: FormatOption = Format.TABLE,
    quiet: Quiet = False,
) -> None:
    """Make a service of a model file: upload, inspect, deploy, try, and show its URL.

    The same file again changes nothing; a new file becomes a new version, and the service rolls over to it.
    """
    from cli.deployment import Plan, carry_out
    from cli.output import Output

    with connect(context) as platform:
        carry_out(Plan.make(file, name, model, replicas, wait, timeout), platform, Output(output, quiet=quiet))
