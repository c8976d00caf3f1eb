"""The transport that waits on asyncio's loop."""

import asyncio
from collections.abc import AsyncIterator

import httpx2

from portside.messages import Reply, Request
from portside.requests import bearer
from portside.sources import Source
from portside.transport import addressed, mapped, trusted, uses_environment


class AsyncTransport:
    """Requests from one event loop."""

    def __init__(self, url: str) -> None:
        """Raises `InvalidAddress`."""
        self.url = url
        with addressed(url):
            self._http = httpx2.AsyncClient(base_url=url, trust_env=uses_environment(url), verify=trusted(url))

    async def exchange(self, request: Request, token: str | None, idle_s: float) -> Reply:
        """Send it once. Raises `ConnectionFailed`."""
        body = request.body
        with mapped(self.url, idle_s):
            response = await self._http.request(
                request.method,
                request.path,
                params=request.query or None,
                headers={**request.headers, **bearer(token)},
                content=body if isinstance(body, bytes | None) else _pieces(body),
                timeout=idle_s,
            )
        return Reply(response.status_code, response.headers, response.content)

    async def pause(self, seconds: float) -> None:
        """Let others go on."""
        await asyncio.sleep(seconds)

    async def digest(self, source: Source) -> str:
        """Hash it in a thread: a large file takes seconds."""
        return await asyncio.to_thread(source.digest)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


async def _pieces(source: Source) -> AsyncIterator[bytes]:
    """The source's bytes, each read in a thread."""
    pieces = source.pieces()
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece
