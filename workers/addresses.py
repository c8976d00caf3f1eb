"""Which addresses we call because a user named them: the guard against server-side request forgery.

Pure: resolves no name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal

Address = IPv4Address | IPv6Address
# `public`: the internet; `loopback`: that and this machine (the embedded default); `all`: whatever there is.
Reach = Literal["public", "loopback", "all"]

# Beside what `ipaddress` calls not global. Versions of Python differ in their copy of the IANA registries.
NEVER_PUBLIC_V4 = (
    IPv4Network("100.64.0.0/10"),  # RFC 6598, carrier-grade NAT
    IPv4Network("192.0.0.0/24"),  # RFC 6890, protocol assignments
    IPv4Network("192.88.99.0/24"),  # RFC 7526, 6to4 relays
    IPv4Network("198.18.0.0/15"),  # RFC 2544, benchmarks
    IPv4Network("240.0.0.0/4"),  # RFC 1112, reserved; has the broadcast address
)
# RFC 4291: only this block holds global unicast addresses.
GLOBAL_UNICAST = IPv6Network("2000::/3")
NEVER_PUBLIC_V6 = (
    IPv6Network("2001::/23"),  # RFC 2928, protocol assignments; has Teredo (RFC 4380) and ORCHID
    IPv6Network("2001:db8::/32"),  # RFC 3849, documentation
    IPv6Network("2002::/16"),  # RFC 7526, 6to4: any IPv4 address in disguise
    IPv6Network("3fff::/20"),  # RFC 9637, documentation
)
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the IPv4 address in the last 32 bits


@dataclass(frozen=True, slots=True)
class Guard:
    """What may be reached, and the setting by which the operator can change that."""

    reach: Reach
    setting: str

    @classmethod
    def of(cls, allows_private: bool | None, host: str, setting: str) -> "Guard":
        """Private addresses by the operator's word; where he said nothing, loopback while we are bound to it."""
        if allows_private is not None:
            return cls("all" if allows_private else "public", setting)
        return cls("loopback" if _is_loopback(host) else "public", setting)


class AddressRefused(ValueError):
    """A host has an address that may not be reached."""


def check_addresses(host: str, addresses: Sequence[str], guard: Guard) -> list[Address]:
    """The addresses, all of which may be reached. Raises `AddressRefused` if one may not, or if there is none."""
    if not addresses:
        raise AddressRefused(f"{host} has no address")
    # A zone ("%eth0") belongs to link-local addresses only, which are refused anyhow.
    found = [ip_address(text.partition("%")[0]) for text in addresses]
    for address in found:
        if not is_allowed(address, guard.reach):
            raise AddressRefused(
                f"{host} has the address {address}, which is not on the public internet; the operator can allow it "
                f"with {guard.setting}"
            )
    return found


def is_allowed(address: Address, reach: Reach) -> bool:
    """Whether this address may be reached."""
    if reach == "all":
        return True
    real = _carried(address)
    return is_public(real) or (reach == "loopback" and real.is_loopback)


def is_public(address: Address) -> bool:
    """Whether this is a unicast address of the public internet."""
    real = _carried(address)
    if isinstance(real, IPv4Address):
        never = any(real in network for network in NEVER_PUBLIC_V4)
        return real.is_global and not real.is_multicast and not never
    return real in GLOBAL_UNICAST and real.is_global and not any(real in network for network in NEVER_PUBLIC_V6)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _carried(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where packets to it go there."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else address
