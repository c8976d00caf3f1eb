"""Verbs about bearer tokens."""

from typing import Annotated

import typer

from cli.commands.target import Yes, confirm
from cli.commands.verb import Call, client_verb


@client_verb()
def list_(call: Call) -> None:
    """List the tokens; their text is shown to nobody."""
    from cli.tokens import list_tokens

    list_tokens(call.platform, call.output)


@client_verb()
def create(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what it is for.", show_default=False)],
    lifetime: Annotated[
        str | None,
        typer.Option("--expires-in", metavar="DURATION", help="12h, 90d.", show_default="it does not expire"),
    ] = None,
) -> None:
    """Make a token and print it, this once: `export PORTSIDE_TOKEN=$(portside tokens create ci)`."""
    from cli.tokens import create_token

    create_token(call.platform, name, lifetime, call.output)


@client_verb(documents=False)
def revoke(
    call: Call,
    token: Annotated[str, typer.Argument(metavar="ID", help="The token, tok_….", show_default=False)],
    yes: Yes = False,
) -> None:
    """End a token; it is refused within seconds, everywhere."""
    from cli.tokens import revoke_token

    confirm(f"Revoke the token {token}?", yes)
    revoke_token(call.platform, token, call.output)
