"""Asking a service from the command line, and the curl command that does the same."""

import json
import shlex
import sys
from pathlib import Path
from urllib.parse import quote

from cli.client import Document, Platform
from cli.failure import CommandFailed, Exit
from cli.nearest import is_file

FORMS = ("inputs", "columns", "tensors")  # the keys by which a whole body is known
LONGEST_SHOWN = 2000  # characters of a command that is shown unasked


def curl_for(platform: Platform, name: str) -> str:
    """The command that asks the service with its model's sample. Raises `CommandFailed`."""
    return curl_command(platform, name, sample_body(platform, name))


def curl_command(platform: Platform, name: str, body: object) -> str:
    """The command that sends this body; a token is named, not shown."""
    words = ["curl", "-s", f"{platform.url}{predict_path(name)}", "-H", "content-type: application/json"]
    bearer = ' -H "authorization: Bearer $PORTSIDE_TOKEN"' if platform.token else ""
    return f"{shlex.join(words)}{bearer} -d {shlex.quote(json.dumps(body, ensure_ascii=False))}"


def shown_command(platform: Platform, service: str, body: Document) -> str:
    """The same where it fits on a screen, else the command that prints it."""
    command = curl_command(platform, service, body)
    return command if len(command) <= LONGEST_SHOWN else f"portside curl {service}  # its sample is too long to show"


def predict_path(name: str, part: str | None = None) -> str:
    """Where a service answers, or one part of it."""
    within = "" if part is None else f"/parts/{quote(part, safe='')}"
    return f"/api/v1/services/{quote(name, safe='')}{within}/predict"


def sample_body(platform: Platform, name: str, part: str | None = None) -> Document:
    """A body that the service's model, or its part, can answer. Raises `CommandFailed`."""
    service = platform.get(f"/api/v1/services/{quote(name, safe='')}")
    within = "" if part is None else f"/parts/{quote(part, safe='')}"
    version = platform.get(f"/api/v1/models/{service['model']}/versions/{service['version']}{within}")
    if not version.get("sample"):
        raise CommandFailed(
            f"{service['model']} version {service['version']} has no sample: give an input.", exit_status=Exit.USAGE
        )
    return {"inputs": version["sample"]}


def read_body(given: list[str]) -> Document:
    """The body that the words of the command line mean. Raises `CommandFailed`."""
    if given == ["-"]:
        return _as_body(_parse(sys.stdin.read(), "stdin"))
    if len(given) == 1 and given[0].startswith("@"):
        return _as_body(_parse(_read_file(Path(given[0][1:])), given[0][1:]))
    return {"inputs": dict(_pair(word) for word in given)}


def _read_file(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise CommandFailed(f"{file} cannot be read ({why}).", exit_status=Exit.USAGE) from error


def _parse(text: str, source: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandFailed(f"{source} is not JSON: {error}.", exit_status=Exit.USAGE) from error


def _as_body(document: object) -> Document:
    """A whole body stays as it is, a record or a list of records becomes one."""
    if isinstance(document, dict) and any(form in document for form in FORMS):
        return document
    return {"inputs": document}


def _pair(word: str) -> tuple[str, object]:
    name, equals, text = word.partition("=")
    if not equals or not name:
        details = [f"hint: did you mean @{word}?"] if is_file(word) else []
        message = f"An input is NAME=VALUE, @FILE or -, not {word!r}."
        raise CommandFailed(message, details=details, exit_status=Exit.USAGE)
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text
