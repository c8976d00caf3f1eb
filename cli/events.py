"""What happened, and what happens from now on: a line for each event, also across a lost connection."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from cli.client import Document, Platform
from cli.failure import CommandFailed, Exit
from cli.format import Format
from cli.output import Columns, Output, name_of
from cli.server_sent import messages

EVENTS = "/api/v1/events"
LOOK_S = 0.5
SILENCE_S = 45.0  # the platform says every 15 s that it is still there
MOST_REMEMBERED = 20_000  # a platform that is asked to go on repeats what happened in the last seconds
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

    Raises `CommandFailed` when it refuses, and when it cannot be reached the first time.
    """
    reader, has_begun, is_away = _Reader(platform, filters, last), False, False
    while True:
        is_told = False
        try:
            for event in reader.listen():
                if is_away:
                    output.say("The platform is back.")
                has_begun, is_told, is_away = True, True, False
                if event is not None:
                    yield event
        except CommandFailed as failed:
            if not has_begun or failed.exit_status in (Exit.AUTH, Exit.USAGE, Exit.NOT_FOUND):
                raise
            if not is_told and not is_away:
                output.say(f"{failed.message} Looking again until it is back.")
                is_away = True
        if not has_begun:
            raise CommandFailed(f"{platform.url} does not tell events as they happen: update the platform.")
        time.sleep(LOOK_S)


class _Reader:
    """Follows the stream of events, one connection after the other, and remembers what it has told."""

    def __init__(self, platform: Platform, filters: Mapping[str, str], last: int) -> None:
        self._platform, self._filters, self._last = platform, filters, last
        self._told: dict[str, None] = {}
        self._has_begun, self._last_id = False, ""

    def listen(self) -> Iterator[Document | None]:
        """What one connection tells: nothing (None) as a sign of life, and each event that was not told before."""
        headers = {"accept": "text/event-stream"} | ({"last-event-id": self._last_id} if self._last_id else {})
        stream = self._platform.stream(EVENTS, headers=headers, idle_s=SILENCE_S, **self._filters)
        is_behind = not self._last_id  # then what happened before it stood is in the list alone
        for message in messages(stream):
            yield None
            if is_behind:  # from now on the stream tells all, so that nothing falls between list and stream
                is_behind = False
                yield from self._unless_told(self._listed())
            if message is not None:
                yield from self._unless_told([json.loads(message.data)])

    def _listed(self) -> Sequence[Document]:
        """The first time the last few; later all, for there were none that match."""
        if self._has_begun:
            return list(self._platform.items(EVENTS, page_size=500, order_by="created_at", **self._filters))
        self._has_begun = True
        page = list(self._platform.get(EVENTS, page_size=500, **self._filters)["items"])[::-1]
        self._told = {str(event["id"]): None for event in page[: -self._last]}
        return page[-self._last :]

    def _unless_told(self, events: Sequence[Document]) -> Iterator[Document]:
        for event in events:
            self._last_id = str(event["id"])
            if self._last_id not in self._told:
                self._told[self._last_id] = None
                yield event
        while len(self._told) > MOST_REMEMBERED:
            del self._told[next(iter(self._told))]


def _time(event: Document) -> datetime:
    return datetime.fromisoformat(event["timestamp"])


def _clock(event: Document) -> str:
    """The time as this machine's clock has it."""
    return f"{_time(event).astimezone():%Y-%m-%d %H:%M:%S}"
