"""An environment for each peer from its hashed lock, in a cache folder outside the repository, made once."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from benchmarks.platform import ROOT, Broken

# uv reads none of pip's settings: what they are called there.
HANDED_OVER = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_CERT": "SSL_CERT_FILE"}
FINISHED = ".finished"


def cache_folder() -> Path:
    """Where environments and programs are kept between runs."""
    return user_cache_path("portside", appauthor=False) / "peers"


def environment(lock: str) -> Path:
    """The Python of an environment with what `requirements/<lock>.txt` holds. Raises `Broken`.

    Its folder is named by the lock's text and the interpreter: a changed lock is another environment.
    """
    locked = ROOT / "requirements" / f"{lock}.txt"
    tag = hashlib.sha256(locked.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = cache_folder() / f"{lock}-{tag}"
    with alone(folder):
        if not (folder / FINISHED).is_file():
            print(f"Making the environment of {lock} (once per machine; up to a minute)", flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, locked)
            (folder / FINISHED).touch()
    return folder / "bin" / "python"


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Hold a place of the cache; the system lets go of it with our process, however that ends."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f"{place.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(folder: Path, locked: Path) -> None:
    uv, python = str(Path(sys.executable).with_name("uv")), str(folder / "bin" / "python")
    settings = {**os.environ, "UV_SYSTEM_CERTS": "1"}
    for ours, theirs in HANDED_OVER.items():
        if ours in os.environ:
            settings.setdefault(theirs, os.environ[ours])
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "--requirement", str(locked)],
    ):
        done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Broken(f"{locked.name} cannot be installed: {done.stderr.strip()[-500:]}")
