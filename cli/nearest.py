"""The nearest name that exists, for whoever has mistyped one, or has named a file where a name is wanted."""

import re
from difflib import get_close_matches
from pathlib import Path
from shlex import quote as shell_quote
from urllib.parse import quote, unquote

from cli.client import Platform
from cli.failure import CommandFailed, Exit
from portside.deploying import service_name

LISTED = re.compile(r"named '([^']*)'; GET (/api/v1/(?:models|services|datasets|jobs)) lists them")
NAMED = re.compile(r"(/api/v1/(?:models|services|datasets|jobs))/([^/:]+)")
KNOWN_SHOWN = 5
NAME = re.compile(r"[a-z]([a-z0-9-]{0,46}[a-z0-9])?")
# What makes something of a file, and names it after the file, by the collection in which a name was looked for.
MADE_BY = {
    "/api/v1/models": "models upload",
    "/api/v1/services": "deploy",
    "/api/v1/datasets": "datasets create",
}


def with_nearest(failed: CommandFailed, platform: Platform) -> CommandFailed:
    """The same failure; where something was not found by its name, with the name that was meant."""
    if (told := LISTED.search(failed.message)) is not None:  # named by the path, or within what was sent
        named = NAMED.match(f"{told.group(2)}/{quote(told.group(1), safe='')}")
    else:
        named = NAMED.match(failed.path)
    if named is None or failed.exit_status is not Exit.NOT_FOUND:
        return failed
    names = names_in(platform, named.group(1))
    given = unquote(named.group(2))
    if given in names:
        return failed
    about_files = _file_hints(named.group(1), given)
    # Where a file's path is given, its slashes are steps of a path that the API does not know.
    message = f"there is no {_noun(named.group(1))} named {given!r}" if about_files and told is None else failed.message
    details = [*about_files, *_name_hints(given, names), *failed.details]
    return CommandFailed(message, details=details, exit_status=failed.exit_status, path=failed.path)


def _name_hints(given: str, names: list[str]) -> list[str]:
    if not names:
        return []
    near = get_close_matches(given, names, n=1, cutoff=0.6)
    known = ", ".join(names[:KNOWN_SHOWN]) + (", …" if len(names) > KNOWN_SHOWN else "")
    return [f"hint: did you mean '{near[0]}'?" if near else f"hint: there is {known}"]


def _file_hints(collection: str, given: str) -> list[str]:
    """What to do about a file where a name is wanted: nothing is found by the name of its file."""
    file, names_file = Path(given), is_file(given)
    if NAME.fullmatch(given) or not (file.suffix or names_file):
        return []
    hint = f"hint: the name of a {_noun(collection)} is wanted here, not a file"
    if not names_file or collection not in MADE_BY:
        return [hint]
    name, command = service_name(file.name), f"portside {MADE_BY[collection]} {shell_quote(given)}"
    return [f"{hint}: `{command}` makes one of it" + (f", which is '{name}' then" if name else "")]


def is_file(given: str) -> bool:
    """Whether a word of the command line is the path of a file here."""
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # too long for a path, not to be looked at, or none at all
        return False


def _noun(collection: str) -> str:
    return collection.rpartition("/")[2].removesuffix("s")


def names_in(platform: Platform, collection: str, prefix: str = "") -> list[str]:
    """The newest 500 names of a collection; none where it cannot be read. They only help."""
    query = {"name.prefix": prefix} if prefix else {}
    try:
        return [str(each["name"]) for each in platform.get(collection, page_size=500, **query)["items"]]
    except CommandFailed:
        return []
