"""One message to a service and its answer back, over the same connections, balancing and holding as HTTP's predictions.

To a model server it is the body of a POST, so that one address serves both protocols.
"""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Final

from starlette.types import Message

from api.gateway.connection import ConnectionBroken, Header
from api.gateway.forward import ClientGone, Exchange
from api.gateway.grpc_status import Code, Refused, refusal, told
from api.gateway.heads import DEFAULT_TIMEOUT_S, LONGEST_ID, MAX_TIMEOUT_S
from api.gateway.metrics import UNROUTED
from api.gateway.split import Gateway
from core.errors import PlatformError
from core.ids import new_id
from core.logs import log_context

log = logging.getLogger(__name__)

LEFT: Final = 499
PROTOBUF: Final = (b"content-type", b"application/x-protobuf")
PASSED_ON: Final = ("traceparent", "tracestate")


class Forwarding:
    """Asks services for one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def ask(
        self,
        tenant_id: str,
        service: str,
        path: str,
        message: bytes,
        *,
        remaining_s: float | None,
        metadata: Mapping[str, str],
        is_prediction: bool = False,
    ) -> bytes:
        """The answer of a service. Raises `Refused`."""
        gateway, call = self._gateway, _Call(message)
        began, exchange, status = gateway.tallies.began(), None, LEFT
        try:
            find = partial(gateway.route, tenant_id, service, is_terse=True)
            find()
            exchange = Exchange(gateway.holding, gateway.pool, find, call.receive, call.send, gateway.max_bytes)
            timeout_s = DEFAULT_TIMEOUT_S if remaining_s is None else min(remaining_s, MAX_TIMEOUT_S)
            headers = _headers(metadata, timeout_s)
            await exchange.run(b"POST", path.encode(), headers, timeout_s, takes_turn=is_prediction)
            status = call.status_code
            return call.answer()
        except PlatformError as error:
            status = error.status
            raise refusal(error) from error
        except (ClientGone, ConnectionBroken) as error:
            status = 502
            with log_context(resource_type="service", resource_name=service):
                log.info("%s was broken off: %r", path, error)
            raise Refused(Code.UNAVAILABLE, f"a replica of service '{service}' failed; try again") from error
        finally:
            known = gateway.table.knows(service)
            took_s = gateway.tallies.ended(service if known else UNROUTED, status, began)
            route = gateway.table.route(tenant_id, service)
            if is_prediction and route is not None:
                replica_id = None if exchange is None else exchange.replica_id
                gateway.traffic.count(tenant_id, route.service.id, replica_id, status, took_s)


class _Call:
    """Both ends of an exchange: a body that is whole, and an answer that is gathered."""

    def __init__(self, message: bytes) -> None:
        self._message: bytes | None = message
        self._chunks: list[bytes] = []
        self._number = b""
        self.status_code = LEFT

    async def receive(self) -> Message:
        """The body, and then nothing more: who leaves cancels us."""
        if self._message is None:
            await asyncio.Event().wait()
        message, self._message = self._message, None
        return {"type": "http.request", "body": message, "more_body": False}

    async def send(self, message: Message) -> None:
        """Keep a piece of the answer."""
        if message["type"] == "http.response.start":
            self.status_code = message["status"]
            self._number = dict(message["headers"]).get(b"grpc-status", b"")
        else:
            self._chunks.append(message.get("body", b""))

    def answer(self) -> bytes:
        """The answer's message. Raises `Refused`."""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        if self.status_code != 200:
            raise told(self.status_code, self._number, data)
        return data


def _headers(metadata: Mapping[str, str], timeout_s: float) -> list[Header]:
    given = metadata.get("x-request-id", "")
    request_id = given if len(given) <= LONGEST_ID and _is_printed(given) else new_id("req")
    passed = [(name.encode(), metadata[name].encode()) for name in PASSED_ON if _is_printed(metadata.get(name, ""))]
    deadline = (b"portside-timeout", b"%dms" % max(1, int(timeout_s * 1000)))
    return [PROTOBUF, (b"x-request-id", request_id.encode()), deadline, *passed]


def _is_printed(value: str) -> bool:
    """gRPC's library hands over values as they came, ends of lines among them, which would be another request's."""
    return bool(value) and value.isascii() and value.isprintable()
