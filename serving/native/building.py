"""Compiles the library: a few seconds, once per environment and version. No server does this, only set-up and tests."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from serving.native.place import FLAGS, SOURCE, digest_of, file_name, note_of, sources

COMPILERS: Final = ("c++", "g++", "clang++")
TIMEOUT_S: Final = 900.0  # Zig compiles its own C++ library first
# The C++ library goes into the file, unseen by others, as the process may have another one, or none. Not every linker
# knows how to say so: what is tried, one after the other.
_LINKED: Final = (
    (("-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL"), ("-static-libstdc++",), ())
    if sys.platform == "linux"
    else ((),)
)


class CannotBuild(Exception):
    """The compiler did not make it; the message says why."""


def compiler() -> list[str] | None:
    """The command of the machine's C++ compiler: `CXX`, else the first that is on the path."""
    named = os.environ.get("CXX")
    if named:
        return shlex.split(named)
    return next(([found] for name in COMPILERS if (found := shutil.which(name))), None)


def build(folder: Path, command: Sequence[str], more_flags: Sequence[str] = ()) -> Path:
    """Compile into this folder, unless it is there already; the library. Raises `CannotBuild`, `OSError`.

    It appears all at once, so that several may build side by side.
    """
    library = folder / file_name(more_flags)
    if is_right(library):
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="building-") as scratch:
        made, note = Path(scratch) / library.name, Path(scratch) / "note"
        _compile([*command, *FLAGS, *more_flags, "-o", str(made)])
        note.write_text(json.dumps({"sha256": digest_of(made), "compiler": shlex.join(command)}), "utf-8")
        made.replace(library)
        note.replace(note_of(library))
    return library


def is_right(library: Path) -> bool:
    """Whether it is there as its note says."""
    try:
        note = json.loads(note_of(library).read_bytes())
        return isinstance(note, dict) and digest_of(library) == note.get("sha256")
    except (OSError, ValueError):
        return False


def _compile(command: list[str]) -> None:
    units = [str(path) for path in sources() if path.suffix == ".cpp"]
    for linked in _LINKED:
        try:
            done = subprocess.run(
                [*command, *linked, f"-I{SOURCE}", *units],
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotBuild(str(error)) from error
        if done.returncode == 0:
            return
    raise CannotBuild(f"{command[0]} says: {done.stderr.strip()[-2000:]}")
