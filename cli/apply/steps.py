"""An apply as a user sees it: the plan as a diff, and then, step by step, what it says."""

import json
import time
from collections.abc import Mapping, Sequence
from difflib import ndiff
from typing import Any

from rich.console import Console
from rich.text import Text

from cli.apply.change import COLLECTIONS, Change
from cli.apply.folder_plan import put_folder
from cli.apply.plan import NEW
from cli.apply.sources import artifact_of
from cli.client import Document, Platform
from cli.datasets import make_dataset
from cli.failure import CommandFailed
from cli.operations import operation_of, wait_for
from cli.output import Output
from cli.registry import ready_version
from cli.words import seconds_in_words
from cli.yaml_text import to_yaml

SIGNS = {"create": "+", "change": "~", "delete": "-"}
STYLES = {"+": "green", "-": "red", "~": "yellow"}
DONE = {"create": "made", "change": "changed"}


def show_plan(changes: Sequence[Change], output: Output, *, dry_run: bool) -> None:
    """The plan as a diff, as documents, or as the names of what changes."""
    changed = [change for change in changes if change.action != "none"]
    if output.is_for_scripts:
        output.document([_document(change) for change in changed])
        return
    console = Console(highlight=False, soft_wrap=True)
    for change in changed:
        for line in diff_lines(change):
            console.print(Text(line, style=STYLES.get(line[0], "")))
    if not changed:
        output.data(f"No change: {len(changes)} as declared.")
        return
    counts = [f"{sum(each.action == a for each in changes)} to {a}" for a in ("create", "change", "delete")]
    same = len(changes) - len(changed)
    output.data(f"{', '.join(counts)}, {same} without change.{' Nothing was done (--dry-run).' if dry_run else ''}")


def diff_lines(change: Change) -> list[str]:
    """A head with a sign, and below it each field as it is and as it shall be."""
    before, after = _lines(change.before), _lines(change.after)
    body = [f"{line[0]}     {line[2:]}".rstrip() for line in ndiff(before, after) if line[0] != "?"]
    if change.action == "change":
        body = [line for line in body if line[0] != " "]
    return [f"{SIGNS[change.action]} {change.kind} {change.name}", *body]


def _lines(fields: Mapping[str, Any]) -> list[str]:
    return to_yaml(dict(fields)).splitlines() if fields else []


def _document(change: Change) -> Document:
    return {
        "name": f"{change.kind}/{change.name}",
        "action": change.action,
        "before": dict(change.before),
        "after": dict(change.after),
    }


def carry_out(changes: Sequence[Change], platform: Platform, output: Output, *, waits: bool, timeout_s: float) -> None:
    """Do what the plan says, in its order. Raises `CommandFailed` naming the document."""
    versions: dict[str, str] = {}
    waiting: list[tuple[Change, Document]] = []
    for change in changes:
        if change.action == "none":
            continue
        try:
            if change.action == "delete":
                _delete(change, platform, output, timeout_s)
            elif change.kind == "model":
                versions[change.name] = _put_model(change, platform, output, timeout_s)
            elif change.kind == "dataset":
                _put_dataset(change, platform, output, timeout_s)
            elif change.kind == "job":
                _put_job(change, platform, output)
            else:
                waiting.append((change, _put_service(change, platform, versions)))
        except CommandFailed as failed:
            raise _named(failed, change) from failed
        if change is _last_wish(changes):
            _await(waiting if waits else [], platform, output, timeout_s)


def _last_wish(changes: Sequence[Change]) -> Change | None:
    """What is deleted waits until all that stays is as it shall be."""
    wishes = [change for change in changes if change.action in DONE]
    return wishes[-1] if wishes else None


def _put_model(change: Change, platform: Platform, output: Output, timeout_s: float) -> str:
    """The model with its version, by number. It is made before its file comes, so that it has the mark from then on."""
    one = change.declared
    assert one is not None
    if change.action == "create":
        platform.call("POST", COLLECTIONS["model"], {"name": change.name, **change.wish})
    elif any(change.before.get(name) != change.after.get(name) for name in change.wish):
        platform.call("PATCH", change.path, change.wish)
    if change.uploads:
        with artifact_of(one, output) as file:
            version = ready_version(platform, file, change.name, output, wait_s=timeout_s)
    else:
        version = platform.get(f"{change.path}/versions/{change.after['artifact']}")
    output.say(f"model {change.name} is {DONE[change.action]}: version {version['version']} is ready.")
    return str(version["version"])


def _put_dataset(change: Change, platform: Platform, output: Output, timeout_s: float) -> None:
    """The dataset, once it is ready: a job that reads it is checked against its columns."""
    one = change.declared
    assert one is not None
    if one.folder is not None:
        put_folder(change, one.folder, platform, output)
        output.say(f"dataset {change.name} is {DONE[change.action]} and ready.")
        return
    if not change.uploads:
        platform.call("PATCH", change.path, change.wish)
        output.say(f"dataset {change.name} is changed.")
        return
    if change.action == "change":
        wait_for(platform, operation_of(platform, platform.call("DELETE", change.path)), timeout_s, output)
    wish = {"name": change.name, **change.wish}
    if one.file is not None:
        lists = {name: json.dumps(given) for name, given in wish.items() if isinstance(given, list)}
        make_dataset(platform, str(one.file), {**wish, **lists}, output, wait_s=timeout_s)
    else:
        said = {"source_uri": one.fields["source"], "reference": bool(one.fields.get("reference"))}
        made = platform.call("POST", COLLECTIONS["dataset"], {**wish, **said})
        wait_for(platform, operation_of(platform, made), timeout_s, output)
    output.say(f"dataset {change.name} is {DONE[change.action]} and ready.")


def _put_job(change: Change, platform: Platform, output: Output) -> None:
    if change.action == "create":
        platform.call("POST", COLLECTIONS["job"], {"name": change.name, **change.wish})
    else:
        platform.call("PATCH", change.path, change.wish)
    output.say(f"job {change.name} is {DONE[change.action]}.")


def _put_service(change: Change, platform: Platform, versions: Mapping[str, str]) -> Document:
    """The operation that makes or changes the service."""
    wish = dict(change.wish)
    if wish.get("version") == NEW:
        wish["version"] = versions[change.after["model"]]
    if change.action == "create":
        return operation_of(platform, platform.call("POST", COLLECTIONS["service"], {"name": change.name, **wish}))
    return operation_of(platform, platform.call("PATCH", change.path, wish))


def _await(waiting: Sequence[tuple[Change, Document]], platform: Platform, output: Output, timeout_s: float) -> None:
    began = time.monotonic()
    for change, operation in waiting:
        try:
            wait_for(platform, operation, timeout_s, output)
        except CommandFailed as failed:
            raise _named(failed, change) from failed
        status = platform.get(change.path)["status"]
        took = seconds_in_words(time.monotonic() - began)
        output.say(f"service {change.name} is {DONE[change.action]} and {status} ({took}).")


def _delete(change: Change, platform: Platform, output: Output, timeout_s: float) -> None:
    answer = platform.call("DELETE", change.path)
    wait_for(platform, operation_of(platform, answer), timeout_s, output)
    output.say(f"{change.kind} {change.name} is deleted.")


def _named(failed: CommandFailed, change: Change) -> CommandFailed:
    """The same failure with the document that it is about, and the way on."""
    place = f"{change.declared.place}: " if change.declared else ""
    details = [*failed.details, "next: put it right and apply again; what is done already is not done twice"]
    message = f"{place}{change.kind} {change.name}: {failed.message}"
    return CommandFailed(message, details=details, exit_status=failed.exit_status)
