"""The verb that does it all: from a file to a service."""

from typing import Annotated

import typer

from cli.commands.target import FeatureNames, FileOrUrl
from cli.commands.verb import Call, client_verb


@client_verb(waits_s=180)
def deploy(
    call: Call,
    file: FileOrUrl,
    name: Annotated[
        str | None, typer.Option("--name", help="The service's name.", show_default="from the file's name")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The model's name.", show_default="as the service")
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option("--replicas", min=1, max=64, help="Model servers.", show_default="1, or as many as there are now"),
    ] = None,
    features: FeatureNames = None,
) -> None:
    """Make a service of a model file: upload, inspect, deploy, try, and show its URL.

    The same file again changes nothing; a new file becomes a new version, and the service rolls over to it. What the
    platform fetches from a URL is a new version each time.
    """
    from dataclasses import replace

    from cli.deployment import Plan, carry_out
    from cli.statements import read_features

    plan = Plan.make(file, name, model, replicas, call.waits, call.timeout_s)
    carry_out(replace(plan, features=read_features(features or [])), call.platform, call.output)
