"""Whether a container's command is one of `portside`, read by the command line's own parser."""

from collections.abc import Sequence

import typer.main

from cli.main import build


def parse(words: Sequence[str]) -> str:
    """The verb's name. Raises click's UsageError for an option that does not exist."""
    name, *arguments = words
    verbs = typer.main.get_group(build()).commands
    assert name in verbs, f"portside has no command {name}"
    verbs[name].make_context(name, arguments)
    return name
