"""Tensors as bytes: every datatype there and back, and lengths that lie."""

import random
import struct
from contextlib import suppress

import numpy as np
import pytest

from serving.datatypes import DTYPES
from serving.problems import Problem
from serving.protocols.raw import array_of, raw_of, texts_of
from serving.signature import Datatype

WHAT = "the input 'x'"


@pytest.mark.parametrize("datatype", [each for each in DTYPES if each not in ("BYTES", "BF16", "BOOL")])
def test_numbers_travel_bit_for_bit_from_any_place_in_memory(datatype: Datatype) -> None:
    dtype = DTYPES[datatype]
    raw = random.Random(1).randbytes(6 * dtype.itemsize)
    for offset in range(8):
        array = array_of(WHAT, datatype, (2, 3), memoryview(b"." * offset + raw)[offset:])
        assert (array.dtype, array.shape, array.flags.aligned) == (dtype, (2, 3), True)
        assert bytes(raw_of(datatype, array)) == raw


def test_aligned_numbers_are_not_copied() -> None:
    raw = np.arange(6, dtype=np.float32)
    assert np.shares_memory(array_of(WHAT, "FP32", (6,), raw.data.cast("B")), raw)


def test_the_strides_of_an_answer_do_not_show() -> None:
    turned = np.arange(6, dtype=np.int16).reshape(2, 3).T
    assert bytes(raw_of("INT16", turned)) == struct.pack("<6h", 0, 3, 1, 4, 2, 5)


def test_bfloat16_is_rounded_to_the_nearest_even() -> None:
    numbers = np.array([1.0, 1.00390625, 1.01171875, 3.4e38, -np.inf, np.nan, 1e-45, -0.0], np.float32)
    halves = np.frombuffer(raw_of("BF16", numbers), np.uint16)
    assert [hex(half) for half in halves] == [
        "0x3f80", "0x3f80", "0x3f82", "0x7f80", "0xff80", "0x7fc0", "0x0", "0x8000",
    ]  # fmt: skip
    back = array_of(WHAT, "BF16", (8,), halves.tobytes())
    assert np.array_equal(back, [1, 1, 1.015625, np.inf, -np.inf, np.nan, 0, -0.0], equal_nan=True)


def test_every_bfloat16_comes_back() -> None:
    halves = np.arange(2**16, dtype=np.uint16)
    back = np.frombuffer(raw_of("BF16", array_of(WHAT, "BF16", (2**16,), halves.tobytes())), np.uint16)
    is_nan = np.isnan(array_of(WHAT, "BF16", (2**16,), halves.tobytes()))
    assert np.array_equal(np.where(is_nan, halves | 0x40, halves), back)


def test_a_boolean_is_a_byte_that_is_0_or_1() -> None:
    assert array_of(WHAT, "BOOL", (3,), b"\0\1\1").tolist() == [False, True, True]
    with pytest.raises(Problem, match="the byte 2 at 1; a BOOL is a byte that is 0 or 1"):
        array_of(WHAT, "BOOL", (3,), b"\0\2\1")


def test_texts_stand_behind_their_lengths() -> None:
    texts = np.array([["a", ""], ["ü", "\0x"]], np.object_)
    raw = bytes(raw_of("BYTES", texts))
    assert raw == b"\1\0\0\0a\0\0\0\0\2\0\0\0\xc3\xbc\2\0\0\0\0x"
    assert texts_of(WHAT, 4, memoryview(raw)) == ["a", "", "ü", "\0x"]


@pytest.mark.parametrize(
    ("count", "raw", "words"),
    [
        (2**62, b"\0\0\0\0", "have at least 18446744073709551616"),
        (1, b"", "have at least 4"),
        (1, b"\xff\xff\xff\xffa", "text 0 has 4294967295 bytes; 1 are left"),
        (2, b"\4\0\0\0abcd", "ends before the length of text 1 of 2"),
        (1, b"\1\0\0\0ab", "has 1 bytes behind its 1 texts"),
        (1, b"\1\0\0\0\xff", "not UTF-8"),
    ],
)
def test_lengths_that_lie_are_refused(count: int, raw: bytes, words: str) -> None:
    with pytest.raises(Problem) as caught:
        texts_of(WHAT, count, raw)
    assert (caught.value.status, words in caught.value.detail) == (400, True)


@pytest.mark.parametrize("shape", [(2, 3), (2**62, 2**62), (0, 3), (5,)])
def test_more_or_fewer_bytes_than_the_shape_says_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(Problem, match=r"has 20 bytes; FP64 of the shape .* is .* bytes"):
        array_of(WHAT, "FP64", shape, bytes(20))


def test_nothing_is_an_array_too() -> None:
    assert array_of(WHAT, "FP32", (0, 4), b"").shape == (0, 4)
    assert bytes(raw_of("FP32", np.zeros((0, 4), np.float32))) == b""
    assert bytes(raw_of("INT64", np.array(7))) == struct.pack("<q", 7)


def test_no_bytes_do_more_than_be_refused() -> None:
    chance = random.Random(7)
    for _ in range(3_000):
        count, raw = chance.choice([0, 1, 2, 3, 2**31, 2**63]), chance.randbytes(chance.randrange(24))
        raw = raw if chance.random() < 0.5 else bytes(byte & 3 for byte in raw)
        with suppress(Problem):
            texts = texts_of(WHAT, count, raw)
            assert bytes(raw_of("BYTES", np.array(texts, np.object_))) == raw
