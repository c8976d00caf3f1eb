"""Verbs about models."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.target import FeatureNames, FileOrUrl, FormParts, IsCsv, ModelName, PartKey, Yes, confirm
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
    features: FeatureNames = None,
) -> None:
    """Upload a file as a new version and inspect it, without deploying it. The same file again changes nothing.

    What the platform fetches from a URL is a new version each time.
    """
    from cli.deployment import name_from
    from cli.registry import upload_model
    from cli.statements import read_features
    from cli.upload import Artifact

    artifact, named = Artifact.read(file), read_features(features or [])
    model, wait_s = name or name_from(artifact.file), call.timeout_s if call.waits else None
    upload_model(call.platform, artifact, model, call.output, wait_s=wait_s, features=named)


@client_verb()
def update(
    call: Call,
    name: ModelName,
    description: Annotated[str | None, typer.Option("--description", show_default=False)] = None,
    display_name: Annotated[str | None, typer.Option("--display-name", show_default=False)] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", help="All its tags from now on; may be repeated.", show_default=False)
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="Overrides what the inspection found.", show_default=False)
    ] = None,
    features: FeatureNames = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", metavar="JSON | @FILE.json", help="Merged key by key.", show_default=False),
    ] = None,
) -> None:
    """Change what is said about a model or, for `iris@3`, about that version. An empty text (`''`) removes it."""
    from cli.statements import read_features, read_object, say_about

    wish = {
        "description": description,
        "display_name": display_name,
        "tags": [tag for tag in tags if tag] if tags else None,
        "task": task,
        "features": read_features([each for each in features if each]) if features else None,
        "metrics": read_object(metrics, "--metrics") if metrics else metrics,
    }
    say_about(call.platform, name, {key: value for key, value in wish.items() if value is not None}, call.output)


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
def download(
    call: Call,
    name: ModelName,
    part: Annotated[
        str | None,
        typer.Option(
            "--part", metavar="KEY", help="The file of one of several models.", show_default="the whole archive"
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to.", show_default="NAME-VERSION.onnx")
    ] = None,
) -> None:
    """Download the file of a version, the newest ready one if none is named, or of one of its parts."""
    from cli.downloading import download

    download(call.platform, name, part, file, call.output)


@client_verb(documents=False, waits_s=60, always_waits=True)
def try_(
    call: Call,
    name: ModelName,
    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="@FILE.json | @FILE.csv | - | NAME=VALUE…", help="The input.", show_default="its own sample"
        ),
    ] = None,
    fields: FormParts = None,
    csv: IsCsv = False,
    part: PartKey = None,
) -> None:
    """Try a version without a service: what it answers, what it printed, and how long it took."""
    from cli.questions import read_question
    from cli.trial import try_version

    asked = read_question(given or [], fields or [], is_csv=csv)
    try_version(call.platform, name, part, asked, call.output, wait_s=call.timeout_s)


@client_verb(documents=False, waits_s=60)
def delete(
    call: Call,
    name: ModelName,
    cascade: Annotated[bool, typer.Option("--cascade", help="Delete the services that use the model, too.")] = False,
    yes: Yes = False,
) -> None:
    """Delete a model with all its versions, or one version; refused while a service uses it, unless with --cascade."""
    from cli.registry import delete_model, delete_with_services, services_in_words, services_of

    if cascade:
        services = services_of(call.platform, name)
        too = f" and the {services_in_words(services)}" if services else ""
        confirm(f"Delete the model {name} with all its versions{too}?", yes)
        delete_with_services(call.platform, name, services, call.output, wait_s=call.wait_s)
        return
    confirm(f"Delete {name}?" if "@" in name else f"Delete the model {name} with all its versions?", yes)
    delete_model(call.platform, name, call.output)
