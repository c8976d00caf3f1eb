"""Header blocks: the examples of RFC 7541, and what is no block."""

import random

import pytest

from serving.http2 import huffman
from serving.http2.hpack import Decoder, Field, encode

BITS = {symbol: (code, bits) for (bits, code), symbol in huffman.CODES.items()}
# Appendix C.3 and C.4: three requests on one connection, without and with the Huffman code.
PLAIN = (
    "828684410f7777772e6578616d706c652e636f6d",
    "828684be58086e6f2d6361636865",
    "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
)
SHORT = (
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    "828684be5886a8eb10649cbf",
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
)
# C.6, after a change of the table's size to 256 bytes: entries have to go.
RESPONSES = (
    "3fe101488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
    "4883640effc1c0bf",
    "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1"
    "ab270fb5291f9587316065c003ed4ee5b1063d5007",
)
REQUESTS: tuple[list[Field], ...] = (
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")],
    [
        (b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com"),
        (b"cache-control", b"no-cache"),
    ],
    [
        (b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/index.html"), (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    ],
)  # fmt: skip


def shortened(text: bytes) -> bytes:
    """A text in the Huffman code."""
    value = size = 0
    for byte in text:
        code, bits = BITS[byte]
        value, size = value << bits | code, size + bits
    spare = -size % 8
    return (value << spare | (1 << spare) - 1).to_bytes((size + spare) // 8)


@pytest.mark.parametrize("blocks", [PLAIN, SHORT])
def test_requests_are_read_as_the_rfc_says(blocks: tuple[str, ...]) -> None:
    decoder = Decoder(2**16)
    assert tuple(decoder.decode(bytes.fromhex(each)) for each in blocks) == REQUESTS


def test_entries_that_do_not_fit_any_more_are_forgotten() -> None:
    decoder = Decoder(2**16)
    told = [dict(decoder.decode(bytes.fromhex(each))) for each in RESPONSES]
    assert [each[b":status"] for each in told] == [b"302", b"307", b"200"]
    assert told[1][b"location"] == b"https://www.example.com"
    assert told[2][b"set-cookie"] == b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
    assert told[2][b"date"] == b"Mon, 21 Oct 2013 20:13:22 GMT"
    with pytest.raises(IndexError):
        decoder.decode(b"\xff\x00")


def test_a_block_tells_whether_the_table_is_as_it_was() -> None:
    decoder = Decoder(2**16)
    seen = []
    for each in (*PLAIN, "be", "000161" + "0162", "20", "828684"):
        decoder.decode(bytes.fromhex(each))
        seen.append(decoder.has_changed)
    assert seen == [True, True, True, False, False, True, False]


def test_texts_of_any_bytes_come_through_the_code() -> None:
    dice = random.Random(7541)
    for _ in range(200):
        text = dice.randbytes(dice.randrange(40))
        assert huffman.decoded(shortened(text)) == text
    text = bytes(range(256)) * 3
    assert huffman.decoded(shortened(text)) == text


@pytest.mark.parametrize(
    "text", [b"\xff", b"\x00\x00"[:1], b"\xff\xff\xff\xff", b"\xf8\xff", b"\xff\xff\xff\xfc", b"\x07\xff\xff"]
)
def test_what_is_no_text_of_the_code_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="it "):
        huffman.decoded(text)


@pytest.mark.parametrize(
    "block",
    [
        "80",  # the field 0
        "be",  # of an empty table
        "ff80808080808080",  # a number without end
        "7fffffffff0f",  # an index beyond all
        "00",  # a literal without a name
        "000161",  # without a value
        "00016105",  # that ends before its length
        "0001610a6262",
        "3fe21f",  # a table larger than ours
        "8220",  # its size behind a field
    ],
)
def test_what_is_no_block_is_refused(block: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        Decoder(2**16).decode(bytes.fromhex(block))


def test_of_too_long_a_list_the_rest_is_read_and_not_kept() -> None:
    decoder = Decoder(200)
    fields = decoder.decode(b"\x40\x01a\x01b" + b"\xbe" * 10_000)
    assert (len(fields), decoder.is_oversized) == (5, True)
    assert decoder.decode(b"\xbe") == [(b"a", b"b")]
    assert not decoder.is_oversized


def test_what_we_write_is_read_and_needs_no_table() -> None:
    fields = [(b":status", b"200"), (b"content-type", b"text/plain"), (b"x-long", b"v" * 5000), (b"grpc-status", b"0")]
    decoder = Decoder(2**16)
    assert decoder.decode(encode(fields)) == fields
    assert not decoder.has_changed
