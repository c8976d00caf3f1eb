"""What happened, and what happens from now on: a line for each event, also across a lost connection."""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from cli.client import Document, Platform
from cli.failure import CommandFailed, Exit
from cli.format import Format
from cli.output import Columns, Output, name_of

EVENTS = "/api/v1/events"
LOOK_S = 0.5
# Transactions do not commit in the order of their events' times: a look begins this long before the newest one seen.
OVERLAP = timedelta(seconds=5)
COLUMNS: Columns = {
    "time": lambda event: _clock(event),
    "event": lambda event: str(event["type"]),
    "of": lambda event: str(event["data"].get("name") or event["resource_id"]),
    "why": lambda event: str(event["data"].get("message") or event["data"].get("reason") or ""),
    "id": lambda event: str(event["id"]),
}


def list_events(platform: Platform, filters: Mapping[str, str], limit: int, output: Output) -> None:
    """The newest events that match, the newest first."""
    found = platform.items(EVENTS, page_size=min(limit + 1, 500), **filters)
    output.rows(output.newest(found, limit), COLUMNS, "No such events.")


def follow_events(platform: Platform, filters: Mapping[str, str], last: int, output: Output) -> None:
    """The last few events and then each new one, a line each (JSON: one object a line), until Ctrl-C."""
    for event in news(platform, filters, last, output):
        if output.format is Format.TABLE:
            output.data(
                f"{_clock(event)}  {event['type']:<24}  {COLUMNS['of'](event)}  {COLUMNS['why'](event)}".rstrip()
            )
        elif output.format is Format.JSON:
            output.data(json.dumps(event, ensure_ascii=False))
        elif output.format is Format.YAML:
            output.data(f"---\n{output.dump(event)}")
        else:
            output.data(name_of(event))


def news(platform: Platform, filters: Mapping[str, str], last: int, output: Output) -> Iterator[Document]:
    """Each event once, the oldest first, for ever; a platform that is away for a while is waited for.

    Raises `CommandFailed` when it refuses, and when it cannot be reached at the first look.
    """
    found = list(platform.get(EVENTS, page_size=500, **filters)["items"])[::-1]
    seen = {str(event["id"]): _time(event) for event in found}
    newest = max(seen.values(), default=None)
    yield from found[-last:]
    is_away = False
    while True:
        time.sleep(LOOK_S)
        since = {} if newest is None else {"created_at.ge": (newest - OVERLAP).isoformat()}
        try:
            looked = list(platform.items(EVENTS, page_size=500, order_by="created_at", **filters, **since))
        except CommandFailed as failed:
            if failed.exit_status in (Exit.AUTH, Exit.USAGE, Exit.NOT_FOUND):
                raise
            if not is_away:
                output.say(f"{failed.message} Looking again until it is back.")
            is_away = True
            continue
        if is_away:
            output.say("The platform is back.")
            is_away = False
        for event in looked:
            if str(event["id"]) not in seen:
                yield event
            seen[str(event["id"])] = _time(event)
        newest = max(seen.values(), default=None)
        seen = {key: at for key, at in seen.items() if newest is None or at >= newest - OVERLAP}


def _time(event: Document) -> datetime:
    return datetime.fromisoformat(event["timestamp"])


def _clock(event: Document) -> str:
    """The time as this machine's clock has it."""
    return f"{_time(event).astimezone():%Y-%m-%d %H:%M:%S}"
