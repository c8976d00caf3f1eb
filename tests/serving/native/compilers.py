"""A C++ compiler for tests, on every machine: that of the machine, else Zig's, whose wheel is taken from PyPI."""

import fcntl
import hashlib
import os
import sys
from pathlib import Path

from platformdirs import user_cache_path

from serving.native.building import CannotBuild, build, compiler
from tests.e2e.environments import ROOT, make_environment

FINISHED = ".finished"


def some_compiler() -> list[str]:
    """Its command."""
    return compiler() or zig()


def built_library() -> Path:
    """The library, built once for each state of its sources; by Zig where the machine's compiler is too old."""
    folder = built_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "building.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # a worker that is late would put its own under those who have begun to look
        try:
            return build(folder, some_compiler())
        except CannotBuild:
            return build(folder, zig())


def built_folder() -> Path:
    """Where tests build to: a folder for all of them, which holds a file for each state of the sources."""
    return user_cache_path("portside", appauthor=False) / "native"


def zig() -> list[str]:
    """Zig's, from an environment in the cache folder, made once per lock."""
    lock = ROOT / "requirements" / "compiler.txt"
    tag = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = user_cache_path("portside", appauthor=False) / "compilers" / tag
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (folder / FINISHED).is_file():
            print(f"Taking a C++ compiler from PyPI into {folder} (once per machine; up to a minute)")
            make_environment(folder, "compiler")
            (folder / FINISHED).touch()
    os.environ.setdefault("ZIG_GLOBAL_CACHE_DIR", str(folder / "zig"))
    return [str(Path(folder) / "bin" / "python"), "-m", "ziglang", "c++", "-mcpu=baseline"]
