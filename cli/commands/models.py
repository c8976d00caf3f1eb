"""Verbs about models."""

from typing import Annotated

import typer

from cli.commands.target import (
    AsJson,
    FileOrUrl,
    FormatOption,
    ModelName,
    Quiet,
    Timeout,
    Wait,
    Yes,
    confirm,
    connect,
    output_of,
)
from cli.format import Format


def list_models(
    context: typer.Context, output: FormatOption = Format.TABLE, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """List the models and their newest versions."""
    from cli.listing import show_models

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        show_models(platform, out)


def show(
    context: typer.Context,
    name: ModelName,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show a model with its versions, or one version with its inputs and outputs."""
    from cli.registry import show_model

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        show_model(platform, name, out)


def upload(
    context: typer.Context,
    file: FileOrUrl,
    name: Annotated[
        str | None, typer.Option("--name", help="The model's name.", show_default="from the file's name")
    ] = None,
    wait: Wait = True,
    timeout: Timeout = 180,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Upload a file as a new version and inspect it, without deploying it. The same file again changes nothing.

    What the platform fetches from a URL is a new version each time.
    """
    from cli.deployment import name_from
    from cli.registry import upload_model
    from cli.upload import Artifact

    out, artifact = output_of(output, as_json, quiet), Artifact.read(file)
    with connect(context) as platform:
        model = name or name_from(artifact.file)
        upload_model(platform, artifact, model, out, wait_s=timeout if wait else None)


def alias(
    context: typer.Context,
    name: ModelName,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="The alias, such as champion.", show_default=False)],
    delete: Annotated[bool, typer.Option("--delete", help="Forget the alias.")] = False,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Let an alias name a version: `models alias iris@3 champion`; without a version the newest one."""
    from cli.registry import remove_alias, set_alias

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        if delete:
            remove_alias(platform, name, alias, out)
        else:
            set_alias(platform, name, alias, out)


def delete(context: typer.Context, name: ModelName, yes: Yes = False, quiet: Quiet = False) -> None:
    """Delete a model with all its versions, or one version; refused while a service uses it."""
    from cli.registry import delete_model

    confirm(f"Delete {name}?" if "@" in name else f"Delete the model {name} with all its versions?", yes)
    with connect(context) as platform:
        delete_model(platform, name, output_of(quiet=quiet))
