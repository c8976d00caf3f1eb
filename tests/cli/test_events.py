"""Following events: no event is missed and none is told twice, whatever becomes of the connection."""

import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice

import pytest

from cli.client import Platform
from cli.events import news
from cli.failure import CommandFailed
from cli.output import Output
from cli.server_sent import Message, messages

STILL_HERE = ": still here\n\n"


def event(number: int) -> dict[str, object]:
    return {"id": f"evt_{number}", "type": "service.running"}


def sent(number: int) -> str:
    return f"id: evt_{number}\nevent: service.running\ndata: {json.dumps(event(number))}\n\n"


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_stream_in_pieces_of_any_size_is_the_same_messages(size: int) -> None:
    text = ": hello\n\nid: 1\nevent: x\ndata: a: b\ndata:  c\n\nid: 2\r\ndata: d\r\n\r\nid: 3\ndata: broken off"
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert list(messages(pieces)) == [None, Message("1", "a: b\n c"), Message("2", "d")]


class Feed(ThreadingHTTPServer):
    """Each look at the list has the next list, each connection that follows the next stream."""

    daemon_threads = True

    def __init__(self, streams: Sequence[str], lists: Sequence[Sequence[int]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.streams, self.lists = deque(streams), deque(lists)
        self.resumed: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Feed

    def do_GET(self) -> None:
        is_stream = self.headers["accept"] == "text/event-stream"
        self.send_response(200)
        self.end_headers()
        if is_stream:
            self.server.resumed.append(self.headers["last-event-id"])
            self.wfile.write(self.server.streams.popleft().encode())
        else:
            found = [event(number) for number in self.server.lists.popleft()]
            items = found if "order_by=created_at" in self.path else found[::-1]
            self.wfile.write(json.dumps({"items": items, "next_page_token": None}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """A test says what failed."""


@contextmanager
def feed(*streams: str, lists: Sequence[Sequence[int]] = ()) -> Iterator[Feed]:
    with Feed(streams, lists) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def told(server: Feed, count: int, last: int = 20) -> list[str]:
    with Platform(server.url) as platform:
        return [str(each["id"]) for each in islice(news(platform, {}, last, Output(quiet=True)), count)]


def test_what_happens_between_the_list_and_the_stream_is_told_once() -> None:
    with feed(STILL_HERE + sent(3) + sent(4), lists=[[1, 2, 3]]) as server:
        assert told(server, 3, last=2) == ["evt_2", "evt_3", "evt_4"]


def test_a_lost_connection_goes_on_behind_the_last_event_and_repeats_nothing() -> None:
    first, second = STILL_HERE + sent(2) + sent(3), STILL_HERE + sent(2) + sent(4) + sent(3) + sent(5)
    with feed(first, second, lists=[[1]]) as server:
        assert told(server, 5) == ["evt_1", "evt_2", "evt_3", "evt_4", "evt_5"]
        assert server.resumed == [None, "evt_3"]


def test_where_nothing_had_happened_before_the_connection_was_lost_all_is_news() -> None:
    with feed(STILL_HERE, STILL_HERE, lists=[[], [1, 2]]) as server:
        assert told(server, 2) == ["evt_1", "evt_2"]
        assert server.resumed == [None, None]


def test_a_platform_that_has_no_stream_is_told_to_be_updated() -> None:
    with feed('{"items": []}') as server, pytest.raises(CommandFailed, match="update the platform"):
        told(server, 1)
