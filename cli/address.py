"""The address to listen on: taken before anything else starts, so that a busy port is known at once."""

import errno
import ipaddress
import socket

from cli.failure import CommandFailed
from cli.ports import listener_of

BACKLOG = 2048


class AddressUnusable(CommandFailed):
    """The address cannot be listened on."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, bound now so that a busy port is known before anything else starts.

    Raises `AddressUnusable`.
    """
    try:
        return listen(host, port)
    except OSError as error:
        raise AddressUnusable(_why_not(host, port, error)) from error


def listen(host: str, port: int) -> socket.socket:
    """The same. Raises `OSError`."""
    bare = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in bare else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((bare, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno != errno.EADDRINUSE:
        return f"{host}:{port} cannot be listened on ({error.strerror or error}): choose another --host or --port."
    holder = listener_of(port)
    by = f" by {holder}" if holder else ""
    return f"Port {port} of {host} is in use{by}: stop that one, choose another with --port, or let --port 0 find one."


def reachable(host: str) -> str:
    """What to write into a URL: a wildcard address is reached by loopback, and IPv6 stands in brackets."""
    bare = host.strip("[]")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return bare
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return bare if address.version == 4 else f"[{bare}]"
