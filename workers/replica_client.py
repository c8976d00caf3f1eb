"""What the workers send predictions with: a client per replica, kept open because opening one costs a millisecond."""

from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2

JSON = "application/json"
PREDICT_TIMEOUT_S = 600.0
CONNECT_TIMEOUT_S = 2.0
MOST_KEPT = 64  # replicas come and go; who was not asked for longest is let go


@dataclass(frozen=True, slots=True)
class Question:
    """A body, and what it is."""

    body: bytes
    content_type: str = JSON


class ReplicaClients:
    """The replicas that were asked lately, by address."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, httpx2.AsyncClient] = OrderedDict()

    async def post(self, address: str, token: str, path: str, question: Question) -> httpx2.Response:
        """The answer of a replica in JSON; it asks for its token over TCP only. Raises what the client raises."""
        is_local = address.startswith("unix:")
        url = f"http://replica{path}" if is_local else f"{address}{path}"
        headers = {"content-type": question.content_type, "accept": JSON}
        if not is_local:
            headers["authorization"] = f"Bearer {token}"
        return await self._client(address).post(url, content=question.body, headers=headers)

    async def close(self) -> None:
        """Let go of all."""
        while self._clients:
            await self._clients.popitem()[1].aclose()

    def _client(self, address: str) -> httpx2.AsyncClient:
        client = self._clients.pop(address, None) or _open(address)
        self._clients[address] = client
        if len(self._clients) > MOST_KEPT:
            # Not closed: it may still be waited for. Its connections end when they rest.
            self._clients.popitem(last=False)
        return client


def _open(address: str) -> httpx2.AsyncClient:
    parts = urlsplit(address)
    socket = parts.path if parts.scheme == "unix" else None
    # Replicas speak plain HTTP: loading certificates for nothing would hold the event loop for 100 ms.
    transport = httpx2.AsyncHTTPTransport(uds=socket, verify=False)
    timeout = httpx2.Timeout(PREDICT_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    return httpx2.AsyncClient(transport=transport, timeout=timeout, trust_env=False)
