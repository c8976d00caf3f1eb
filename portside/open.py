"""Opens a session: the one place that loads httpx2, so that `import portside` costs next to nothing."""

from functools import partial

from portside.address import Address, folder_token
from portside.session import Retries, Session


def open_blocking(address: Address, timeout_s: float, retries: Retries) -> Session:
    """For threads. Raises `InvalidAddress`."""
    from portside.transport import BlockingTransport

    find = partial(folder_token, address.url)
    return Session(BlockingTransport(address.url), address.token, timeout_s, retries, find)


def open_async(address: Address, timeout_s: float, retries: Retries) -> Session:
    """For one event loop. Raises `InvalidAddress`."""
    from portside.async_transport import AsyncTransport

    find = partial(folder_token, address.url)
    return Session(AsyncTransport(address.url), address.token, timeout_s, retries, find)
