"""One HTTP request to a webhook's receiver: resolved once, checked, and sent to the very address that was checked."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import httpx2

from workers.addresses import Address, AddressRefused, Reach, check_addresses

TIMEOUT_S = 20.0
HEAD_CHARACTERS = 2000


class SendingFailed(Exception):
    """The receiver was not reached or did not answer; another attempt may succeed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The receiver's answer without its body."""

    status: int
    head: str
    retry_after: str | None


# The addresses of a name, as texts, for a connection to the port. Raises OSError, UnicodeError.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """What this machine's resolver says, in its order."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def send(
    url: str, body: bytes, headers: Mapping[str, str], reach: Reach, resolve: Resolve = resolve_by_system
) -> Answer:
    """POST the body; redirects are not followed, the environment's proxies not used, the answer's body not read.

    The name is resolved once, and the connection goes to an address that was checked then: what the name means a moment
    later does not matter (DNS rebinding). Raises `AddressRefused` for what webhooks may not reach, and `SendingFailed`.
    """
    target = _parse(url)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            addresses = check_addresses(target.host, await _resolve(target, resolve), reach)
            return await _post_to_first(target, addresses, body, headers)
    except TimeoutError as error:
        raise SendingFailed(f"no answer within {TIMEOUT_S:g} s") from error


def _parse(url: str) -> httpx2.URL:
    try:
        target = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise AddressRefused(f"{url[:200]!r} is not a URL: {error}") from error
    if target.scheme not in ("http", "https") or not target.host:
        raise AddressRefused(f"{url[:200]!r} is not an http or https URL with a host")
    return target


async def _resolve(target: httpx2.URL, resolve: Resolve) -> Sequence[str]:
    port = target.port or (443 if target.scheme == "https" else 80)
    try:
        return await resolve(target.raw_host.decode("ascii"), port)
    except (OSError, UnicodeError) as error:
        raise SendingFailed(f"the name {target.host} cannot be resolved: {error}") from error


async def _post_to_first(
    target: httpx2.URL, addresses: list[Address], body: bytes, headers: Mapping[str, str]
) -> Answer:
    """Try the checked addresses in the resolver's order; only a connection that fails leads to the next one."""
    context = await asyncio.to_thread(_tls_context) if target.scheme == "https" else False
    # No connection is kept: the next delivery to this address may have another host's certificate to check.
    limits = httpx2.Limits(max_keepalive_connections=0)
    transport = httpx2.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits)
    async with httpx2.AsyncClient(transport=transport, trust_env=False, timeout=TIMEOUT_S) as client:
        reason = ""
        for address in addresses:
            request = client.build_request(
                "POST",
                target.copy_with(host=str(address)),
                content=body,
                headers={**headers, "Host": target.netloc.decode("ascii")},
                extensions={"sni_hostname": target.raw_host.decode("ascii")},
            )
            try:
                response = await client.send(request, stream=True, follow_redirects=False)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                reason = f"cannot connect to {address}: {error}"
                continue
            except httpx2.TransportError as error:
                raise SendingFailed(f"{type(error).__name__}: {error}") from error
            await response.aclose()
            return Answer(response.status_code, _head(response), response.headers.get("retry-after"))
    raise SendingFailed(reason)


@cache
def _tls_context() -> ssl.SSLContext:
    """Made once: reading the system's certificates takes a quarter of a second."""
    return httpx2.create_ssl_context(trust_env=False)


def _head(response: httpx2.Response) -> str:
    lines = [f"{response.http_version} {response.status_code} {response.reason_phrase}"]
    lines += [f"{name}: {value}" for name, value in response.headers.multi_items()]
    return "\n".join(lines)[:HEAD_CHARACTERS]
