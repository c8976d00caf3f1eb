"""A client's connection that lets small predictions go the short way, before ASGI; see `api.gateway.short`.

To uvicorn's protocol a request on the short way looks like any other: what is pipelined behind it waits in its queue.
"""

import asyncio
from typing import Any, Final, cast
from urllib.parse import unquote

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from api.farewell import Stopping
from api.gateway.refusing import Refusal
from api.gateway.relay import Relay
from api.gateway.short import ShortWay
from api.gateway.split import HANDED_OVER
from cli.connection import MAX_HEAD_BYTES, ClientConnection
from core.errors import PlatformError

HTTP_1_1: Final = "1.1"


class PredictingConnection(ClientConnection):
    """Asks the short way about each POST before anybody else."""

    _relay: Relay | None = None  # what is on the short way now
    _resting: asyncio.TimerHandle | None = None
    _rests_since = 0.0  # by the loop's clock

    def __init__(
        self,
        short: ShortWay,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """All but `short` is what uvicorn gives each of its protocols."""
        super().__init__(config, server_state, app_state, _loop)
        self._short = short

    def connection_lost(self, exc: Exception | None) -> None:
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.leave()
        if self._resting is not None:
            self._resting.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._relay is not None:
            self._relay.pause(True)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._relay is not None:
            self._relay.pause(False)

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        relay = self._admitted() if self.parser.get_method() == b"POST" else None
        if relay is None:
            self._make_scope()
            super().on_headers_complete()
            return
        self._in_head = self._is_offer = False
        self._expect_nothing()
        relay.keep_alive = self.parser.should_keep_alive()
        self.cycle = self._last = cast("RequestResponseCycle", relay)
        self._relay = relay

    def on_body(self, body: bytes) -> None:
        relay = self._relay
        if relay is not None and relay.more_body:
            relay.gather(body, self.loop.time())
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        relay = self._relay
        if relay is not None and relay.more_body:
            relay.forward()
        else:
            super().on_message_complete()

    # -- what a relay asks of its client

    def write(self, data: bytes) -> None:
        """See `relay.Client`."""
        self.transport.write(data)

    def finished(self, relay: Relay) -> None:
        """See `relay.Client`."""
        self._relay = None
        if not relay.keep_alive:
            self.transport.close()
        elif not self.pipeline and not self.flow.read_paused and self._refusal is None:
            self.server_state.total_requests += 1
            self._rest()
            return
        self.on_response_complete()

    def go_long(self, relay: Relay) -> None:
        """See `relay.Client`."""
        self._start_anew(relay, self.app)

    def refuse(self, relay: Relay, error: PlatformError) -> None:
        """See `relay.Client`."""
        self._start_anew(relay, Refusal(error, relay.request_id, is_terse=relay.asked.is_terse))

    def cut(self) -> None:
        """See `relay.Client`."""
        self._relay = None
        self.transport.abort()  # who does not read would keep the connection for ever

    def common_head(self) -> bytes:
        """See `relay.Client`."""
        return b"".join([b"%b: %b\r\n" % header for header in self.server_state.default_headers])

    # -- our own

    def say_farewell(self, stopping: Stopping) -> None:
        """Refuse what is under way: the process ends now."""
        relay = self._relay
        if relay is not None:
            relay.keep_alive = False
            if relay.response_started:
                self.transport.close()
            else:
                relay.refuse(stopping)

    def _refuse(self, refusal: PlatformError) -> None:
        relay = self._relay
        if relay is not None and relay.more_body:  # it is its body that cannot be read
            self._relay = None
            relay.give_up(refusal)
        super()._refuse(refusal)

    def _make_scope(self) -> None:
        """What uvicorn makes when a message begins: only the long way needs it."""
        url, headers, expects, head_bytes = self.url, self.headers, self.expect_100_continue, self._head_bytes
        super().on_message_begin()
        self.url, self.expect_100_continue, self._head_bytes = url, expects, head_bytes
        self.headers += headers

    def _rest(self) -> None:
        """Begin to wait for the next request; the timer is left from the last time, and looks by itself."""
        self._rests_since = self.loop.time()
        if self._resting is None:
            self._resting = self.loop.call_later(self.timeout_keep_alive, self._look_whether_it_rests)

    def _look_whether_it_rests(self) -> None:
        self._resting = None
        if self._in_head or not self.cycle.response_complete or self.timeout_keep_alive_task is not None:
            return  # what is under way begins to wait again, or uvicorn waits since
        left_s = self._rests_since + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._resting = self.loop.call_later(left_s, self._look_whether_it_rests)
        else:
            self.timeout_keep_alive_handler()

    def _admitted(self) -> Relay | None:
        """The request on the short way, if it may go there and no other one is being answered."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            return None
        if self._head_bytes > MAX_HEAD_BYTES or self._refusal is not None or self.transport.is_closing():
            return None
        if self.flow.write_paused or self.parser.get_http_version() != HTTP_1_1:
            return None
        return self._short.admit(self.url, self.headers, self)

    def _start_anew(self, relay: Relay, app: Any) -> None:
        """Let an ASGI app answer a request that was on the short way, as if it had come to it at once."""
        self._relay = None
        if self.transport.is_closing():
            return
        was, cycle = cast("RequestResponseCycle", relay), self._cycle_of(relay)
        if self.cycle is was:  # else another one is pipelined behind it
            self.cycle = cycle
        if self._last is was:
            self._last = cycle
        self._start_asgi_task(cycle, app)

    def _cycle_of(self, relay: Relay) -> RequestResponseCycle:
        path, _, query = relay.url.partition(b"?")
        scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": HTTP_1_1,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": relay.headers,
            "state": {**self.app_state, HANDED_OVER: relay.handed_over},
            "method": "POST",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
        }
        told = asyncio.Event()
        cycle = RequestResponseCycle(
            scope=cast("Any", scope),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=told,
            expect_100_continue=False,
            keep_alive=relay.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.more_body = relay.more_body
        if not relay.more_body:
            cycle.body += relay.body
            told.set()
        return cycle
