"""Chooses the broker by the URL's scheme: what only one of them needs is imported only for it."""

from collections.abc import Callable

from dramatiq import Broker

from core.errors import Unavailable
from workers.broker.inprocess import InProcessBroker


class UnsupportedBrokerUrl(ValueError):
    """The setting names a broker that this build does not have; a mistake of the operator, found at start."""


def is_shared(url: str) -> bool:
    """Whether wake-ups reach other processes: all but `inprocess:` does."""
    return not url.startswith("inprocess:")


def open_broker(url: str, has_room: Callable[[str], bool] | None = None) -> Broker:
    """The broker behind `inprocess://` or `redis://…`; connects to nothing yet. Raises UnsupportedBrokerUrl.

    While `has_room` is false of a lane, its wake-ups are left to the consumers of other processes, where there are any.
    """
    scheme, separator, _ = url.partition("://")
    if separator and scheme == "inprocess":
        return InProcessBroker(middleware=[])
    if separator and scheme in ("redis", "rediss"):
        from workers.broker.redis import open_redis  # its client takes 0.3 s to import

        try:
            return open_redis(url, has_room)
        except ValueError as error:
            raise UnsupportedBrokerUrl(f"the broker URL {scheme}://… cannot be read: {error}") from error
    shown = f"{scheme}://" if separator else repr(url)
    raise UnsupportedBrokerUrl(
        f"the broker URL has {shown}; the schemes that exist are: inprocess://, redis://, rediss://"
    )


def broker_fault(url: str) -> str | None:
    """Why the broker cannot carry wake-ups now, in a sentence, or nothing; blocks for 2 s at most."""
    if not is_shared(url):
        return None
    broker = open_broker(url)
    try:
        broker.flush("doctor")  # a queue that nobody uses: the shortest command that every broker has
    except Unavailable as error:
        return error.message
    finally:
        broker.close()
    return None
