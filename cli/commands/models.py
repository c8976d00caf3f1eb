"""Verbs about models."""

from typing import Annotated

import typer

from cli.commands.target import FileOrUrl, ModelName, Yes, confirm
from cli.commands.verb import Call, client_verb


@client_verb()
def list_models(call: Call) -> None:
    """List the models and their newest versions."""
    from cli.listing import show_models

    show_models(call.platform, call.output)


@client_verb()
def show(call: Call, name: ModelName) -> None:
    """Show a model with its versions, or one version with its inputs and outputs."""
    from cli.registry import show_model

    show_model(call.platform, name, call.output)


@client_verb(waits_s=180)
def upload(
    call: Call,
    file: FileOrUrl,
    name: Annotated[
        str | None, typer.Option("--name", help="The model's name.", show_default="from the file's name")
    ] = None,
) -> None:
    """Upload a file as a new version and inspect it, without deploying it. The same file again changes nothing.

    What the platform fetches from a URL is a new version each time.
    """
    from cli.deployment import name_from
    from cli.registry import upload_model
    from cli.upload import Artifact

    artifact = Artifact.read(file)
    model = name or name_from(artifact.file)
    upload_model(call.platform, artifact, model, call.output, wait_s=call.timeout_s if call.waits else None)


@client_verb()
def alias(
    call: Call,
    name: ModelName,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="The alias, such as champion.", show_default=False)],
    delete: Annotated[bool, typer.Option("--delete", help="Forget the alias.")] = False,
) -> None:
    """Let an alias name a version: `models alias iris@3 champion`; without a version the newest one."""
    from cli.registry import remove_alias, set_alias

    if delete:
        remove_alias(call.platform, name, alias, call.output)
    else:
        set_alias(call.platform, name, alias, call.output)


@client_verb(documents=False)
def delete(call: Call, name: ModelName, yes: Yes = False) -> None:
    """Delete a model with all its versions, or one version; refused while a service uses it."""
    from cli.registry import delete_model

    confirm(f"Delete {name}?" if "@" in name else f"Delete the model {name} with all its versions?", yes)
    delete_model(call.platform, name, call.output)
