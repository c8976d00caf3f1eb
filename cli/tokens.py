"""Bearer tokens: listed, made, revoked."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from cli.client import Document, Platform
from cli.failure import CommandFailed, Exit
from cli.format import Format
from cli.operating import seconds
from cli.output import Columns, Output
from cli.words import age_in_words

TOKENS = "/api/v1/tokens"
COLUMNS: Columns = {
    "token": lambda token: str(token["id"]),
    "name": lambda token: str(token["name"]),
    "expires": lambda token: str(token["expires_at"] or "never"),
    "age": lambda token: age_in_words(token["created_at"]),
}


def list_tokens(platform: Platform, output: Output) -> None:
    """All tokens, without their text. Raises `CommandFailed`."""
    found = list(platform.items(TOKENS, page_size=500))
    if output.format is Format.NAME:  # `revoke` takes the id: names need not be unique
        for token in found:
            output.data(str(token["id"]))
    else:
        output.rows(found, COLUMNS, "No tokens yet: `portside tokens create NAME` makes one.")


def create_token(platform: Platform, name: str, lifetime: str | None, output: Output) -> None:
    """Make a token and print its text, which nobody can read again. Raises `CommandFailed`."""
    if output.format is Format.NAME:
        raise CommandFailed("-o name would hide the token, which is shown once: leave it out.", exit_status=Exit.USAGE)
    wish = {"name": name}
    if lifetime is not None:
        wish["expires_at"] = (datetime.now(UTC) + timedelta(seconds=seconds(lifetime, "--expires-in"))).isoformat()
    made = platform.call("POST", TOKENS, wish).document
    _print_once(made, output)


def _print_once(made: Document, output: Output) -> None:
    if not made.get("token"):  # the answer was lost, and what came is its replay
        raise CommandFailed(
            f"The token {made['id']} was made, and the answer that showed it was lost.",
            details=[f"next: portside tokens revoke {made['id']} --yes, and make another one"],
        )
    if output.is_for_scripts:
        output.document(made)
    else:
        output.data(str(made["token"]))
    output.say(
        f"{made['id']} ({made['name']}), expires {made['expires_at'] or 'never'}. Keep it: it is not shown again."
    )


def revoke_token(platform: Platform, token_id: str, output: Output) -> None:
    """End a token. Raises `CommandFailed`."""
    platform.call("DELETE", f"{TOKENS}/{quote(token_id, safe='')}")
    output.say(f"The token {token_id} is revoked.")
