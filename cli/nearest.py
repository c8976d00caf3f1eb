"""The nearest name that exists, for whoever has mistyped one."""

import re
from difflib import get_close_matches
from urllib.parse import quote, unquote

from cli.client import Platform
from cli.failure import CommandFailed, Exit

LISTED = re.compile(r"named '([^']*)'; GET (/api/v1/(?:models|services|datasets|jobs)) lists them")
NAMED = re.compile(r"(/api/v1/(?:models|services|datasets|jobs))/([^/:]+)")
KNOWN_SHOWN = 5


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
    if given in names or not names:
        return failed
    near = get_close_matches(given, names, n=1, cutoff=0.6)
    known = ", ".join(names[:KNOWN_SHOWN]) + (", …" if len(names) > KNOWN_SHOWN else "")
    hint = f"hint: did you mean '{near[0]}'?" if near else f"hint: there is {known}"
    details = [hint, *failed.details]
    return CommandFailed(failed.message, details=details, exit_status=failed.exit_status, path=failed.path)


def names_in(platform: Platform, collection: str, prefix: str = "") -> list[str]:
    """The newest 500 names of a collection; none where it cannot be read. They only help."""
    query = {"name.prefix": prefix} if prefix else {}
    try:
        return [str(each["name"]) for each in platform.get(collection, page_size=500, **query)["items"]]
    except CommandFailed:
        return []
