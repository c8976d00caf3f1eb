"""One verb for many: all that a filter names, up to a thousand in a call."""

import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from cli.client import Platform
from cli.failure import CommandFailed, Exit
from cli.operations import wait_for
from cli.output import Columns, Output

EVERYTHING = {"created_at.ge": "1970-01-01T00:00:00Z"}
COLUMNS: Columns = {
    "id": lambda item: str(item["id"]),
    "outcome": lambda item: str(item["outcome"]),
    "operation": lambda item: str(item["operation"] or "").rpartition("/")[2],
    "why": lambda item: str((item["error"] or {}).get("detail") or ""),
}


def read_filter(named: str | None, where: Sequence[str], *, everything: bool, dry_run: bool) -> Mapping[str, str]:
    """The filter that the options say; an empty one where a single thing is named. Raises `CommandFailed`."""
    if (named is not None) + bool(where) + everything != 1:
        raise CommandFailed("Name one, or say --where FIELD=VALUE, or --all.", exit_status=Exit.USAGE)
    if dry_run and named is not None:
        raise CommandFailed("--dry-run goes with --where and --all.", exit_status=Exit.USAGE)
    if everything:
        return EVERYTHING
    pairs = [word.partition("=") for word in where]
    if wrong := ["".join(pair) for pair in pairs if not all(pair)]:
        raise CommandFailed(
            f"--where takes FIELD=VALUE, such as status=failed, not {wrong[0]!r}.", exit_status=Exit.USAGE
        )
    return {name: value for name, _, value in pairs}


def do_many(
    platform: Platform, verb: str, chosen: Mapping[str, str], output: Output, *, dry_run: bool, wait_s: float
) -> None:
    """Do it (`services:pause`), or only tell what would become of each; wait where `wait_s` is more than zero.

    Raises `CommandFailed` where one of them failed.
    """
    deadline = time.monotonic() + wait_s
    done = platform.call("POST", f"/api/v1/{verb}", {"filter": chosen, "dry_run": dry_run}).document
    output.rows(done["items"], COLUMNS, "There is none for which it can be done.")
    would = "would be " if dry_run else ""
    output.say(f"{done['accepted']} {would}accepted, {done['unchanged']} unchanged, {done['failed']} failed.")
    if done["has_more"]:
        output.say("There are more of them: the same command again goes on.")
    for item in done["items"]:
        if wait_s and item["operation"] and not dry_run:
            operation = platform.get(urlsplit(item["operation"]).path)
            wait_for(platform, operation, max(deadline - time.monotonic(), 0), output)
    if done["failed"]:
        raise CommandFailed(f"{done['failed']} of {len(done['items'])} failed.", exit_status=Exit.CONFLICT)
