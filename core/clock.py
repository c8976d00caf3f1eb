"""Instants as the platform keeps them: integer microseconds since the Unix epoch, UTC (see ADR 0004)."""

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

Micros = int


def now_micros() -> Micros:
    """This process' own clock; leases and due times use the database's (`state.database.db_now`)."""
    return time.time_ns() // 1000


def to_micros(duration: timedelta) -> int:
    """A duration in whole microseconds."""
    return duration // timedelta(microseconds=1)


# A page of a list says 1,500 instants: many are the same (a row that nothing has happened to since it was made), or
# were said when the page was last asked for, and most others are of the same minute as one of these.
@lru_cache(maxsize=8192)
def rfc3339(instant: Micros) -> str:
    """`2026-01-31T12:00:00.123456Z`."""
    seconds, micros = divmod(instant, 1_000_000)
    return f"{_up_to_minute(seconds // 60)}:{seconds % 60:02}.{micros:06}Z"


@lru_cache(maxsize=4096)
def _up_to_minute(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).isoformat(timespec="minutes").removesuffix("+00:00")


def from_rfc3339(text: str) -> Micros:
    """The instant a text names; raises ValueError where it is no RFC 3339 date-time with an offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("the time needs an offset, for example Z")
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
