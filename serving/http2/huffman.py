"""The Huffman code of header texts (RFC 7541, 5.2 and appendix B).

The code is canonical: within a length, codes follow each other in the order of their symbols, so the lengths say all.
"""

from typing import Final

_END = 256  # the symbol that no text may have
# How many bits each symbol has, sixteen a line.
_LENGTHS: Final = (
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
)  # fmt: skip
_SHORT_BITS = 8
_LONG_BITS = range(10, 31)  # no code has nine


def _codes() -> dict[tuple[int, int], int]:
    """The symbol of each code, by the number of its bits and their value."""
    found, code, before = {}, 0, 0
    for bits, symbol in sorted((bits, symbol) for symbol, bits in enumerate(_LENGTHS)):
        code <<= bits - before
        found[bits, code] = symbol
        code, before = code + 1, bits
    return found


def _short(codes: dict[tuple[int, int], int]) -> tuple[tuple[int, int] | None, ...]:
    """For each byte, the symbol that it begins with, and that one's bits; none where a longer code begins so."""
    found: list[tuple[int, int] | None] = [None] * (1 << _SHORT_BITS)
    for (bits, code), symbol in codes.items():
        spare = _SHORT_BITS - bits
        if spare >= 0:
            found[code << spare : (code + 1) << spare] = [(symbol, bits)] * (1 << spare)
    return tuple(found)


CODES: Final = _codes()
_SHORT: Final = _short(CODES)


def decoded(data: bytes) -> bytes:
    """The text. Raises `ValueError` for what is none."""
    text, waiting, bits = bytearray(), 0, 0  # `waiting` are the bits that belong to no symbol yet
    for byte in data:
        waiting, bits = waiting << 8 | byte, bits + 8
        while bits >= _SHORT_BITS:
            found = _SHORT[waiting >> (bits - _SHORT_BITS)] or _long(waiting, bits)
            if found is None:
                break
            text.append(found[0])
            bits -= found[1]
            waiting &= (1 << bits) - 1
    while bits:  # the last symbols are followed by less than a byte of ones
        spare = max(_SHORT_BITS - bits, 0)
        found = _SHORT[(waiting << spare | (1 << spare) - 1) >> max(bits - _SHORT_BITS, 0)]
        if found is None or found[1] > bits:
            break
        text.append(found[0])
        bits -= found[1]
        waiting &= (1 << bits) - 1
    if bits >= _SHORT_BITS or waiting != (1 << bits) - 1:
        raise ValueError("it does not end with a symbol")
    return bytes(text)


def _long(waiting: int, bits: int) -> tuple[int, int] | None:
    """The symbol of more than a byte at the beginning, if it is all there. Raises `ValueError`."""
    for length in _LONG_BITS:
        if length > bits:
            return None
        symbol = CODES.get((length, waiting >> (bits - length)))
        if symbol is not None:
            if symbol == _END:
                break
            return symbol, length
    raise ValueError("it has the symbol of the end")
