"""Names of blobs: `sha256:` and 64 lower-case hex digits, valid by construction.

Paths and object keys are made from a `Digest` only, so no string of a caller ever becomes a path.
"""

import hashlib
import re
from dataclasses import dataclass

from core.errors import Rejected

ALGORITHM = "sha256"
# \Z and not $: a trailing newline must not pass.
HEX = re.compile(r"[0-9a-f]{64}\Z")


class InvalidDigest(Rejected):
    """A text is not the name of a blob."""

    code, title = "invalid_digest", "Not a digest"


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The SHA-256 of a blob's bytes; `str()` gives the spelling that rows and clients see."""

    hex: str

    def __post_init__(self) -> None:
        if not HEX.match(self.hex):
            raise InvalidDigest(f"{self.hex[:80]!r} is not a SHA-256: write 64 lower-case hexadecimal digits.")

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Read `sha256:<64 hex>`; anything else raises InvalidDigest."""
        algorithm, colon, hexadecimal = text.partition(":")
        if algorithm != ALGORITHM or not colon:
            raise InvalidDigest(f"{text[:80]!r} is not a digest: write 'sha256:' and 64 lower-case hexadecimal digits.")
        return cls(hexadecimal)

    def __str__(self) -> str:
        return f"{ALGORITHM}:{self.hex}"


class Hasher:
    """Counts and hashes bytes as they pass; releases the GIL for pieces above 2 KiB."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next piece."""
        self._sha256.update(data)
        self.size_bytes += len(data)

    def digest(self) -> Digest:
        """The name of what has passed so far."""
        return Digest(self._sha256.hexdigest())
