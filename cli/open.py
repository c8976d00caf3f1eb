"""Opens the way to a platform, which the address chooses."""

from typing import TYPE_CHECKING

from portside.address import is_loopback

if TYPE_CHECKING:
    from cli.loopback import CommandTransport


def open_transport(url: str) -> "CommandTransport":
    """The quickest that can reach it. Raises `InvalidAddress`."""
    if url.startswith("http://") and is_loopback(url):
        from cli.loopback import LoopbackTransport

        return LoopbackTransport(url, _open_any)
    return _open_any(url)


def _open_any(url: str) -> "CommandTransport":
    from portside.transport import BlockingTransport

    return BlockingTransport(url)
