"""A PMML file's bytes and characters: its encoding, and the few places where PMML4S reads XML differently.

PMML4S takes every file for UTF-8 without a byte order mark, whatever its XML declaration says.
"""

import codecs
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from serving.engines.base import InvalidModel

_CHUNK_BYTES = 256 * 1024
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_DECLARED = re.compile(rb"""^\s*<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
# Python's registry also holds codecs that are no character sets (zip, rot13, unicode_escape).
_FAMILIES = ("utf-8", "utf-16", "ascii", "iso8859", "cp", "koi8", "gb", "big5", "euc", "shift_jis", "mac-", "hz")
# PMML4S reads a line break inside an Array as part of a number (XmlUtils.extractArray): "1\n2" becomes NaN.
_BREAK_BETWEEN_VALUES = re.compile(rb"[^\s>]\r?\n[^\s<]")


def encoding_of(path: Path) -> str:
    """The Python codec that reads the file. Raises `InvalidModel` for an encoding that nobody knows."""
    with path.open("rb") as file:
        head = file.read(1024)
    for mark, codec in _MARKS:
        if head.startswith(mark):
            return codec
    declared = _DECLARED.match(head)
    if declared is None:
        return "utf-16" if head[:4] in (b"<\0?\0", b"\0<\0?") else "utf-8"
    name = declared[1].decode("ascii")
    try:
        codec = codecs.lookup(name).name
    except LookupError:
        codec = ""
    if not codec.startswith(_FAMILIES):
        raise InvalidModel("pmml_malformed", f"line 1: the encoding '{name}' is not known", "Save the file as UTF-8.")
    return codec


def utf8_chunks(path: Path, encoding: str) -> Iterator[bytes]:
    """The file as UTF-8, in pieces. Raises `InvalidModel` where the bytes do not fit the encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    with path.open("rb") as file:
        while True:
            data = file.read(_CHUNK_BYTES)
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                message = f"line {lines} or after: the file is not the {encoding} that it says it is ({error.reason})"
                raise InvalidModel("pmml_malformed", message, "Save the file as UTF-8.") from error
            yield text.encode("utf-8", "surrogatepass")
            lines += text.count("\n")
            if not data:
                return


def is_read_alike(path: Path, encoding: str) -> bool:
    """Whether PMML4S, given the path, reads the same document as an XML parser would."""
    if encoding not in ("utf-8", "ascii"):
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return _BREAK_BETWEEN_VALUES.search(mapped) is None


def whole_text(path: Path, encoding: str) -> str:
    """The document with every line break as a space, which no PMML element minds."""
    return path.read_text(encoding=encoding).replace("\n", " ")
