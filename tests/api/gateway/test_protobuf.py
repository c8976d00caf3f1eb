"""The few messages that the gateway reads and writes by hand, against the library that reads and writes all."""

import random

import pytest
from google.protobuf.wrappers_pb2 import StringValue, UInt64Value

from api.gateway.protobuf import MOST_FIELDS, Malformed, field, fields, flag, texts


@pytest.mark.parametrize("text", ["", "iris", "ü" * 100, "x" * 20_000])
def test_a_text_is_written_and_read_as_the_library_does(text: str) -> None:
    written = field(1, text)
    assert StringValue.FromString(written).value == text
    assert texts(StringValue(value=text).SerializeToString(), (1, 2)) == {1: text, 2: ""}


@pytest.mark.parametrize("number", [0, 1, 127, 128, 2**63])
def test_a_number_is_written_as_the_library_does(number: int) -> None:
    assert flag(1, number) == UInt64Value(value=number).SerializeToString()


def test_the_last_of_several_counts_and_other_kinds_are_passed_over() -> None:
    message = b"\x09" + bytes(8) + b"\x15" + bytes(4) + flag(3, 300) + field(4, "a") + field(4, "b")
    assert texts(message, (4,)) == {4: "b"}
    assert [number for number, _ in fields(message)] == [1, 2, 3, 4, 4]


@pytest.mark.parametrize(
    "message",
    [
        b"\xff",
        b"\x0a",
        b"\x0a\x05abc",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0b",
        b"\x09abc",
        b"\x80",
    ],
)
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(Malformed):
        texts(message, (1,))


def test_a_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(Malformed, match="UTF-8"):
        texts(field(1, b"\xff\xfe"), (1,))


def test_no_more_fields_are_looked_at_than_a_request_has() -> None:
    assert len(list(fields(flag(9, 1) * (MOST_FIELDS + 5)))) == MOST_FIELDS
    assert texts(field(1, "iris") + flag(9, 1) * 1_000_000, (1,)) == {1: "iris"}


def test_random_bytes_are_read_or_refused() -> None:
    chance = random.Random(6)
    for _ in range(3000):
        try:
            texts(chance.randbytes(chance.randrange(40)), (1, 2, 3))
        except Malformed:
            continue
