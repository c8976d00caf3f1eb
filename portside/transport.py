"""The door to httpx2: the transport that blocks, and what both transports have in common."""

import ssl
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx2

from portside.address import is_loopback
from portside.errors import InvalidAddress, broken_off, nobody_answers, refusal_of, too_late
from portside.messages import Query, Reply, Request
from portside.requests import bearer
from portside.sources import Source

CONNECT_S = 30.0


class BlockingTransport:
    """Requests from this thread. Its methods are coroutines that never wait."""

    def __init__(self, url: str) -> None:
        """Raises `InvalidAddress`."""
        self.url = url
        with addressed(url):
            self._http = httpx2.Client(base_url=url, trust_env=uses_environment(url), verify=trusted(url))
        # `Portside().deploy(…)` leaves nobody who could close it; the connections go with the last object that has it.
        weakref.finalize(self, self._http.close)

    async def exchange(self, request: Request, token: str | None, idle_s: float) -> Reply:
        """Send it once. Raises `ConnectionFailed`."""
        body = request.body
        content = body if isinstance(body, bytes | None) else body.pieces()
        with mapped(self.url, idle_s):
            response = self._http.request(
                request.method,
                request.path,
                params=request.query or None,
                headers={**request.headers, **bearer(token)},
                content=content,
                timeout=idle_s,
            )
        return Reply(response.status_code, response.headers, response.content)

    def stream(
        self, path: str, query: Query, token: str | None, headers: Mapping[str, str], idle_s: float | None
    ) -> Iterator[str]:
        """The text of an answer as it comes, for as long as it comes; without `idle_s` it may be silent for ever.

        Raises `ConnectionFailed` and `ApiError`.
        """
        patience = httpx2.Timeout(CONNECT_S, read=idle_s)
        sent = {**headers, **bearer(token)}
        with (
            mapped(self.url, idle_s or CONNECT_S),
            self._http.stream("GET", path, params=query, headers=sent, timeout=patience) as response,
        ):
            if not response.is_success:
                raise refusal_of(Reply(response.status_code, response.headers, response.read()))
            yield from response.iter_text()

    @contextmanager
    def receive(
        self, path: str, token: str | None, idle_s: float
    ) -> Iterator[tuple[Mapping[str, str], Iterator[bytes]]]:
        """The headers of an answer and its bytes as they come, for the length of the block: for what has no ranges.

        Raises `ConnectionFailed` and `ApiError`.
        """
        sent = {"accept-encoding": "identity", **bearer(token)}
        patience = httpx2.Timeout(CONNECT_S, read=idle_s)
        with (
            mapped(self.url, idle_s),
            self._http.stream("GET", path, headers=sent, timeout=patience) as response,
        ):
            if not response.is_success:
                raise refusal_of(Reply(response.status_code, response.headers, response.read()))
            yield response.headers, response.iter_raw()

    async def pause(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)  # noqa: ASYNC251 - no loop runs this coroutine

    async def digest(self, source: Source) -> str:
        """Hash it here."""
        return source.digest()

    async def close(self) -> None:
        """Close the connections."""
        self._http.close()


def uses_environment(url: str) -> bool:
    """Whether proxies of the environment may be asked: none of them can reach this machine's loopback."""
    return not is_loopback(url)


def trusted(url: str) -> ssl.SSLContext | bool:
    """Whose certificates are believed: nobody's where the address has no TLS, for reading them takes 20 ms and more."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if url.startswith("http://") else True


@contextmanager
def addressed(url: str) -> Iterator[None]:
    """Around making a client: an address that cannot be one becomes `InvalidAddress`."""
    try:
        yield
    except httpx2.InvalidURL as error:
        raise InvalidAddress("is no URL", url) from error


@contextmanager
def mapped(url: str, idle_s: float) -> Iterator[None]:
    """Around a request: every error of httpx2 becomes `ConnectionFailed`, and knows whether it can have arrived."""
    try:
        yield
    except httpx2.ConnectError as error:
        raise nobody_answers(url) from error
    except httpx2.TimeoutException as error:
        was_sent = not isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout)
        raise too_late(url, idle_s, was_sent=was_sent) from error
    except httpx2.HTTPError as error:
        raise broken_off(url, error) from error
