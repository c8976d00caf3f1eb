"""Where the compiled library lies, and what it must be: a file named by the digest of its sources and the platform.

Beside it lies a note with its own digest, so that a file that was cut short or changed is never loaded. This module and
`building` need no package: images compile before there is any.
"""

import hashlib
import os
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).parent / "source"
VARIABLE: Final = "PORTSIDE_NATIVE"  # "off", or the folder to look into
OFF: Final = "off"
FLAGS: Final = (
    *("-std=c++17", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti", "-pthread"),
    *("-Wall", "-Wextra", "-Wpedantic", "-Wconversion"),
)


def is_off() -> bool:
    """Whether nobody wants it."""
    return os.environ.get(VARIABLE) == OFF


def folders() -> list[Path]:
    """Where it may lie: as a wheel brings it, and as set-up puts it beside the environment."""
    named = os.environ.get(VARIABLE)
    if named and named != OFF:
        return [Path(named)]
    return [SOURCE.parent / "built", Path(sys.prefix) / "lib" / "portside-native"]


def sources() -> list[Path]:
    """The files that it is made of."""
    return sorted(path for path in SOURCE.iterdir() if path.suffix in (".cpp", ".hpp"))


def file_name(more_flags: Sequence[str] = ()) -> str:
    """The name of the library for these sources on this platform. Raises `OSError`."""
    digest = hashlib.sha256(" ".join([*FLAGS, *more_flags]).encode())
    for path in sources():
        digest.update(b"%b\0%b\0" % (path.name.encode(), path.read_bytes()))
    return f"portside-{digest.hexdigest()[:16]}-{sysconfig.get_platform()}.so"


def note_of(library: Path) -> Path:
    """Where its note lies."""
    return library.with_suffix(".json")


def digest_of(library: Path) -> str:
    """The digest of the file. Raises `OSError`."""
    return hashlib.sha256(library.read_bytes()).hexdigest()
