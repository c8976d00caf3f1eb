"""What is said about models and versions: read from the command line, sent to the platform."""

import json
from collections.abc import Sequence
from pathlib import Path

from cli.client import Document, Platform
from cli.failure import CommandFailed, Exit
from cli.output import Output
from cli.registry import Features, Reference

OF_VERSIONS = ("task", "features", "metrics")  # what a model does not have


def read_features(given: Sequence[str]) -> Features:
    """`float_input=a,b,c` for each input, or one `@file.json`. Raises `CommandFailed`."""
    if len(given) == 1 and given[0].startswith("@"):
        return read_object(given[0], "--features")
    features: dict[str, list[str]] = {}
    for word in given:
        name, equals, places = word.partition("=")
        if not name or not equals or word.startswith("@"):
            raise CommandFailed(
                f"--features takes INPUT=NAME,NAME,… or one @file.json, not {word!r}.", exit_status=Exit.USAGE
            )
        features[name] = [place.strip() for place in places.split(",")]
    return features


def read_object(given: str, option: str) -> Document:
    """A JSON object, as it stands or from `@file.json`. Raises `CommandFailed`."""
    try:
        found = json.loads(Path(given[1:]).read_text("utf-8") if given.startswith("@") else given)
    except (OSError, ValueError) as error:
        raise CommandFailed(
            f"{option} {given}: no JSON can be read there ({error}).", exit_status=Exit.USAGE
        ) from error
    if not isinstance(found, dict):
        raise CommandFailed(f"{option} takes a JSON object, not {given}.", exit_status=Exit.USAGE)
    return found


def say_about(platform: Platform, text: str, said: Document, output: Output) -> None:
    """Change what is said about a model, or about one version; what is empty is forgotten. Raises `CommandFailed`."""
    asked, kept = Reference.read(text), {name: value or None for name, value in said.items()}
    if not kept:
        raise CommandFailed("Nothing to change: say --description, --tag, …", exit_status=Exit.USAGE)
    if asked.version is None and (misplaced := [f"--{name}" for name in OF_VERSIONS if name in kept]):
        raise CommandFailed(
            f"A version has {' and '.join(misplaced)}, a model has not: write {asked.model}@VERSION.",
            exit_status=Exit.USAGE,
        )
    if asked.version is None:
        changed = platform.call("PATCH", asked.path, kept).document
    else:
        changed = platform.call("PATCH", asked.version_path, kept).document
    if output.is_for_scripts:
        output.document(changed)
    output.say(f"{text}: {', '.join(kept)} changed.")
    if "features" in kept:
        output.say("Services take the new names when they are next deployed, updated or restarted.")
