"""The root element of an XML file from its first bytes, in whichever encoding; no XML parser reads uploads here."""

import re
from typing import Final

MARKS: Final = ((b"\xff\xfe\x00\x00", "utf-32-le"), (b"\x00\x00\xfe\xff", "utf-32-be"), (b"\xff\xfe", "utf-16-le"),
                (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8"))  # fmt: skip
PROLOGUE: Final = re.compile(r"\s+|<\?.*?\?>|<!--.*?-->", re.DOTALL)
UNENDED: Final = re.compile(r"<\?|<!--|<!?[A-Za-z]*\Z")
DOCTYPE: Final = re.compile(r"<!DOCTYPE\s+([^\s>\[]+)", re.IGNORECASE)
ELEMENT: Final = re.compile(r"<([^\s<>/!?=\"']+)(?=[\s/>]|\Z)")


def read_markup(head: bytes) -> str | None:
    """The root's name with its prefix, `!DOCTYPE name`, or empty where the head ends before it; None if no markup."""
    text = _decoded(head)
    if not text.lstrip().startswith("<"):
        return None
    position = 0
    while match := PROLOGUE.match(text, position):
        position = match.end()
    if position == len(text) or UNENDED.match(text, position):
        return ""
    if doctype := DOCTYPE.match(text, position):
        return f"!DOCTYPE {doctype[1].rpartition(':')[2]}"
    element = ELEMENT.match(text, position)
    return element[1] if element else None


def _decoded(head: bytes) -> str:
    """Names are ASCII in every file we look for: 8-bit encodings need not be told from each other."""
    for mark, encoding in MARKS:
        if head.startswith(mark):
            return head[len(mark) :].decode(encoding, "ignore")
    first, second = head[:1], head[1:2]
    if first == b"\x00" != second:
        return head.decode("utf-16-be", "ignore")
    if second == b"\x00" != first:
        return head.decode("utf-16-le", "ignore")
    return head.decode("latin-1")
