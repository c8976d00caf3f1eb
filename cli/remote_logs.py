"""Reads replicas' logs from the node, which is another process and perhaps on another machine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx2

from api.dependencies import ReadLogs
from core.errors import NotFound, Unavailable
from core.secrets import Vault
from state.database import Database
from state.queries.node import node_address
from workers.node.logs import until

CONNECT_S = 2.0
ANSWER_S = 3.0
NOT_FOUND = 404


class NodeUnavailable(Unavailable):
    """The node, which has the logs of its replicas, cannot be asked now."""

    code, title = "node_unavailable", "The node cannot be reached"


def remote_log_reader(database: Database, vault: Vault, stop: asyncio.Event) -> ReadLogs:
    """The function that reads logs over HTTP, and lets go of who follows one at `stop`."""

    async def read(replica_id: str, follow: bool, tail_bytes: int) -> AsyncIterator[bytes]:
        pieces = _pieces(await _address(database), vault.node_token(), replica_id, follow=follow, tail_bytes=tail_bytes)
        async for piece in until(pieces, stop.wait()):
            yield piece

    return read


async def _address(database: Database) -> str:
    async with database.read() as session:
        address = await node_address(session)
    if address is None:
        raise NodeUnavailable(
            "no node says where it is: start `portside node`, with PORTSIDE_NODE_HOST as others reach its machine"
        )
    return address


async def _pieces(address: str, token: str, replica_id: str, *, follow: bool, tail_bytes: int) -> AsyncIterator[bytes]:
    """The answer as it comes, an empty piece first. Raises `NodeUnavailable` and `NotFound`."""
    timeout = httpx2.Timeout(ANSWER_S, connect=CONNECT_S, read=None if follow else ANSWER_S)
    # Plain HTTP: loading certificates for nothing would hold the event loop for 100 ms.
    transport = httpx2.AsyncHTTPTransport(verify=False)
    query = {"tail_bytes": str(tail_bytes)} | ({"follow": "true"} if follow else {})
    headers = {"authorization": f"Bearer {token}"}
    async with AsyncExitStack() as stack:
        try:
            client = httpx2.AsyncClient(transport=transport, timeout=timeout, trust_env=False, headers=headers)
            await stack.enter_async_context(client)
            async with asyncio.timeout(ANSWER_S):
                stream = client.stream("GET", f"{address}/logs/{replica_id}", params=query)
                response = await stack.enter_async_context(stream)
            if response.status_code == NOT_FOUND:
                raise NotFound(f"the node has no log of replica '{replica_id}'")
            if not response.is_success:
                raise NodeUnavailable(f"the node at {address} answered {response.status_code}; its log says more")
            yield b""
            async for piece in response.aiter_raw():
                yield piece
        except (httpx2.TransportError, TimeoutError) as error:
            raise NodeUnavailable(f"the node at {address} does not answer ({type(error).__name__})") from error
