"""Instants as RFC 3339 has them."""

from datetime import UTC, datetime, timedelta

import pytest

from core.clock import from_rfc3339, now_micros, rfc3339

MINUTE = 60_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (MINUTE - 1, "1970-01-01T00:00:59.999999Z"),
        (MINUTE, "1970-01-01T00:01:00.000000Z"),
        (1_769_860_800_123_456, "2026-01-31T12:00:00.123456Z"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_an_instant_is_written_to_the_microsecond(instant: int, text: str) -> None:
    assert rfc3339(instant) == text
    assert from_rfc3339(text) == instant


def test_what_is_written_is_what_datetime_writes() -> None:
    start = now_micros()
    for step in range(0, 1000 * MINUTE, 7 * MINUTE + 1_234_567):
        moment = EPOCH + timedelta(microseconds=start + step)
        assert rfc3339(start + step) == moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
