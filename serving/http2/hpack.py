"""Header blocks (HPACK, RFC 7541): decoded with the table that both sides keep, written without it.

A client that asks the same way again sends the same bytes, so who decodes may remember what they said for as long as
the table stays as it is: `has_changed` tells.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from serving.http2.huffman import decoded

Field = tuple[bytes, bytes]
TABLE_BYTES: Final = 4096  # of our table, as everybody has it until told otherwise
ENTRY_BYTES: Final = 32  # that a field counts beside its texts
_MOST_NUMBER = 2**24  # of an index or a length: more is no number that could be right
# Appendix A.
_STATIC_TEXT = (
    ":authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200|:status=204|"
    ":status=206|:status=304|:status=400|:status=404|:status=500|accept-charset|accept-encoding=gzip, deflate|"
    "accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|"
    "content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type|"
    "cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|"
    "last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|"
    "server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate"
)


def _static() -> tuple[Field, ...]:
    """The fields of the static table, by their indices; there is none at 0."""
    parts = (each.encode().partition(b"=") for each in _STATIC_TEXT.split("|"))
    return ((b"", b""), *((name, value) for name, _, value in parts))


STATIC: Final = _static()
_FIRST_DYNAMIC = len(STATIC)


class Decoder:
    """Decodes one connection's blocks. Raises `ValueError` or `IndexError` for what is none: its table is lost then."""

    def __init__(self, most_list_bytes: int) -> None:
        """Of a list beyond this size, no field more is kept, and `is_oversized` says so: the table needs all of it."""
        self._most_list_bytes = most_list_bytes
        self._dynamic: deque[Field] = deque()  # the newest first
        self._dynamic_bytes, self._most_dynamic_bytes = 0, TABLE_BYTES
        self.has_changed = self.is_oversized = False

    def decode(self, block: bytes) -> list[Field]:
        """The fields of one block."""
        self.has_changed = self.is_oversized = False
        fields: list[Field] = []
        at, size, left = 0, len(block), self._most_list_bytes
        while at < size:
            byte = block[at]
            if byte >= 0x80:
                index, at = (byte & 0x7F, at + 1) if byte < 0xFF else _number(block, at, 0x7F)
                field = self._indexed(index)
            elif byte & 0xE0 == 0x20:
                if left != self._most_list_bytes:
                    raise ValueError("the table's size changes within a block")
                most_bytes, at = _number(block, at, 0x1F)
                self._resize(most_bytes)
                continue
            else:
                field, at = self._literal(block, at)
            left -= len(field[0]) + len(field[1]) + ENTRY_BYTES
            if left >= 0:
                fields.append(field)
        self.is_oversized = left < 0
        return fields

    def _indexed(self, index: int) -> Field:
        if not index:
            raise ValueError("there is no field 0")
        return STATIC[index] if index < _FIRST_DYNAMIC else self._dynamic[index - _FIRST_DYNAMIC]

    def _literal(self, block: bytes, at: int) -> tuple[Field, int]:
        is_kept = block[at] >= 0x40
        index, at = _number(block, at, 0x3F if is_kept else 0x0F)
        if index:
            name = self._indexed(index)[0]
        else:
            name, at = _text(block, at)
        value, at = _text(block, at)
        field = (name, value)
        if is_kept:
            self._keep(field)
        return field, at

    def _keep(self, field: Field) -> None:
        self.has_changed = True
        self._dynamic_bytes += len(field[0]) + len(field[1]) + ENTRY_BYTES
        self._dynamic.appendleft(field)
        self._evict()

    def _resize(self, most_bytes: int) -> None:
        if most_bytes > TABLE_BYTES:
            raise ValueError("the table becomes larger than was agreed")
        self.has_changed, self._most_dynamic_bytes = True, most_bytes
        self._evict()

    def _evict(self) -> None:
        while self._dynamic_bytes > self._most_dynamic_bytes:
            name, value = self._dynamic.pop()
            self._dynamic_bytes -= len(name) + len(value) + ENTRY_BYTES


def encode(fields: Sequence[Field]) -> bytes:
    """A block that says the same at any time: every field literal and in no table, but for a status that all know."""
    return b"".join(map(_encoded, fields))


def _encoded(field: Field) -> bytes:
    if field in STATIC:
        return bytes((0x80 | STATIC.index(field),))
    name, value = field
    index = next((index for index, known in enumerate(STATIC) if known[0] == name), 0)
    begun = _prefixed(index, 0x0F) if index else b"\x00" + _prefixed(len(name), 0x7F) + name
    return begun + _prefixed(len(value), 0x7F) + value


def _prefixed(number: int, mask: int) -> bytes:
    """A number whose first bits stand under the mask (5.1)."""
    if number < mask:
        return bytes((number,))
    parts, number = bytearray((mask,)), number - mask
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _number(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """The number whose first bits are those under the mask, and where it ends (5.1)."""
    number = block[at] & mask
    at += 1
    if number < mask:
        return number, at
    for shift in range(0, 28, 7):
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            if number > _MOST_NUMBER:
                break
            return number, at
    raise ValueError("a number is too large")


def _text(block: bytes, at: int) -> tuple[bytes, int]:
    is_huffman = block[at] >= 0x80
    length, begin = _number(block, at, 0x7F)
    end = begin + length
    if end > len(block):
        raise ValueError("a text ends behind its block")
    text = block[begin:end]
    return (decoded(text) if is_huffman else text), end
