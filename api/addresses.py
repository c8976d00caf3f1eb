"""What a URL that we shall call may be, as far as it can be told without resolving it.

Who calls it resolves the name and checks again (workers); here mistakes are told while somebody listens.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from api.auth import is_loopback
from core.errors import FieldProblem, InvalidField
from core.settings import Settings

LONGEST_URL = 2000
# Addresses that carry another one inside: 6to4, Teredo, NAT64 (RFC 3056, 4380, 6052).
CARRIERS = tuple(map(ipaddress.IPv6Network, ("2002::/16", "2001::/32", "64:ff9b::/96", "64:ff9b:1::/48")))
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_webhook_url(url: str, settings: Settings, pointer: str) -> None:
    """Raises `InvalidField` unless the URL is http(s) with a host that may be called."""
    fault = _fault(url, _Rule.of(settings.allow_private_webhooks, settings, "WEBHOOKS", "every delivery is signed"))
    if fault is not None:
        raise InvalidField(f"the webhook URL cannot be used: {fault}", fields=[FieldProblem(pointer, fault)])


def check_source_uri(url: str, settings: Settings, pointer: str) -> None:
    """Raises `InvalidField` unless a model file may be fetched from the URL."""
    fault = _fault(url, _Rule.of(settings.opens_private_sources, settings, "SOURCES", "sign the URL"))
    if fault is not None:
        raise InvalidField(f"the source cannot be used: {fault}", fields=[FieldProblem(pointer, fault)])


def check_endpoint(url: str, settings: Settings, pointer: str) -> None:
    """Raises `InvalidField` unless an S3 server may be asked at the URL."""
    fault = _fault(url, _Rule.of(settings.opens_private_sources, settings, "SOURCES", "give the keys beside it"))
    if fault is None and urlsplit(url).path.strip("/"):
        fault = "it has a path; write https://HOST or https://HOST:PORT"
    if fault is not None:
        raise InvalidField(f"the endpoint cannot be used: {fault}", fields=[FieldProblem(pointer, fault)])


@dataclass(frozen=True, slots=True)
class _Rule:
    """What the operator allows, and what its owner does instead of writing a password into the URL."""

    allows_all: bool
    may_loop: bool
    setting: str
    instead: str

    @classmethod
    def of(cls, allows_private: bool | None, settings: Settings, what: str, instead: str) -> "_Rule":
        may_loop = allows_private is None and is_loopback(settings.host)
        return cls(bool(allows_private), may_loop, f"PORTSIDE_ALLOW_PRIVATE_{what}", instead)


def _fault(url: str, rule: _Rule) -> str | None:
    if len(url) > LONGEST_URL or not url.isprintable() or " " in url:
        return f"a URL has at most {LONGEST_URL} printable characters and no spaces"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"it is no URL ({error}); write it as https://HOST/PATH"
    if parts.scheme not in ("http", "https"):
        return "it must begin with http:// or https://, nothing else is served yet"
    if not host:
        return "it names no host; write it as https://HOST/PATH"
    if parts.username is not None or parts.password is not None:
        return f"it must not carry a user name or password; {rule.instead} instead"
    return _host_fault(host, rule)


def _host_fault(host: str, rule: _Rule) -> str | None:
    if rule.allows_all:
        return None
    back = f"leads back to this machine; {rule.setting}=true opens it"
    address = _literal(host)
    if address is None:
        is_local = host == "localhost" or host.endswith(".localhost")
        return f"{host} {back}" if is_local and not rule.may_loop else None
    if address.is_loopback:
        return None if rule.may_loop else f"{host} {back}"
    is_carrier = isinstance(address, ipaddress.IPv6Address) and any(address in network for network in CARRIERS)
    if address.is_global and not address.is_multicast and not is_carrier:
        return None
    return f"{host} is not a public address; {rule.setting}=true opens private ones"


def _literal(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return _old_spelling(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _old_spelling(host: str) -> Address | None:
    """`127.1`, `0x7f.1` and `2130706433` are 127.0.0.1 for every resolver (inet_aton(3))."""
    if re.fullmatch(r"[0-9a-fx.]+", host) is None:
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None
