"""Calls a URL that a user named: its host resolved once, and connected to at the very address that was checked.

Nothing is redirected here, and the environment's proxies are not used.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache

import httpx2

from workers.addresses import Address, AddressRefused, Guard, check_addresses


class Unreached(Exception):
    """The other side was not reached or did not answer; another try may succeed."""


# The addresses of a name, as texts, for a connection to the port. Raises OSError, UnicodeError.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """What this machine's resolver says, in its order."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def target_of(url: str) -> httpx2.URL:
    """The URL, if it can be called. Raises `AddressRefused`."""
    try:
        target = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise AddressRefused(f"{url.partition('?')[0][:200]!r} is not a URL: {error}") from error
    if not is_callable(target):
        raise AddressRefused(f"{url.partition('?')[0][:200]!r} is not an http or https URL with a host")
    return target


def is_callable(target: httpx2.URL) -> bool:
    """Whether it is http(s) with a host, and with a port that there is if it names one."""
    # `raw_host` here and below, because `host` raises for some names with `xn--` in them, which it tries to read.
    has_port = target.port is None or 1 <= target.port <= 65535
    return target.scheme in ("http", "https") and bool(target.raw_host) and has_port


@asynccontextmanager
async def called(
    method: str,
    target: httpx2.URL,
    headers: Mapping[str, str],
    guard: Guard,
    *,
    patience: httpx2.Timeout,
    content: bytes | None = None,
    resolve: Resolve = resolve_by_system,
) -> AsyncIterator[httpx2.Response]:
    """The answer, its body not yet read, for the length of the block.

    The name is resolved once, and the connection goes to an address that was checked then: what the name means a moment
    later does not matter (DNS rebinding). Raises `AddressRefused` for what may not be reached, and `Unreached`.
    """
    addresses = check_addresses(target.raw_host.decode("ascii"), await _resolve(target, resolve), guard)
    context = await asyncio.to_thread(_tls_context) if target.scheme == "https" else False
    # No connection is kept: the next call to this address may have another host's certificate to check.
    limits = httpx2.Limits(max_keepalive_connections=0)
    transport = httpx2.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            httpx2.AsyncClient(transport=transport, trust_env=False, timeout=patience)
        )
        response = await _first_answer(client, method, target, addresses, headers, content)
        stack.push_async_callback(response.aclose)
        yield response


def retry_after(text: str | None, longest: timedelta) -> timedelta | None:
    """`Retry-After` (RFC 9110, 10.2.3) in seconds or as a date; nothing where it cannot be read."""
    text = (text or "").strip()
    if text.isascii() and text.isdecimal():
        return min(timedelta(seconds=int(text[:9])), longest)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return min(max(moment - datetime.now(UTC), timedelta(0)), longest)


async def _resolve(target: httpx2.URL, resolve: Resolve) -> Sequence[str]:
    host, port = target.raw_host.decode("ascii"), target.port or (443 if target.scheme == "https" else 80)
    try:
        return await resolve(host, port)
    except (OSError, UnicodeError) as error:
        raise Unreached(f"the name {host} cannot be resolved: {error}") from error


async def _first_answer(
    client: httpx2.AsyncClient,
    method: str,
    target: httpx2.URL,
    addresses: list[Address],
    headers: Mapping[str, str],
    content: bytes | None,
) -> httpx2.Response:
    """Try the checked addresses in the resolver's order; only a connection that fails leads to the next one."""
    reason = ""
    for address in addresses:
        request = client.build_request(
            method,
            target.copy_with(host=str(address)),
            content=content,
            headers={**headers, "Host": target.netloc.decode("ascii")},
            extensions={"sni_hostname": target.raw_host.decode("ascii")},
        )
        try:
            return await client.send(request, stream=True, follow_redirects=False)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            reason = f"cannot connect to {address}: {error}"
        except httpx2.TransportError as error:
            raise Unreached(f"{type(error).__name__}: {error}") from error
        except UnicodeError as error:  # httpx2 reads the host of a `Location` also where it is not followed
            raise Unreached(f"its answer cannot be read: {error}") from error
    raise Unreached(reason)


@cache
def _tls_context() -> ssl.SSLContext:
    """Made once: reading the system's certificates takes a quarter of a second."""
    return httpx2.create_ssl_context(trust_env=False)
