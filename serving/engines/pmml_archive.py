"""An archive of the Java classes that PMML4S needs: with one, Java starts and loads a model in half the time.

Java maps it while it starts, and refuses by itself one that is damaged or another Java's: then it starts without.
"""

import fcntl
import hashlib
import logging
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER_VARIABLE = "PORTSIDE_JVM_ARCHIVES"
WRITE_VARIABLE = "PORTSIDE_JVM_ARCHIVES_WRITE"

log = logging.getLogger(__name__)

_CLASSES = Path(__file__).with_name("pmml_classes.txt")
_LONGEST_S = 60.0  # a quiet processor needs two


@dataclass(frozen=True, slots=True)
class JavaStart:
    """A Java as it is started: its shared library, its options and its class path."""

    library: Path
    options: Sequence[str]
    class_path: Sequence[Path]


def archive_options(java: JavaStart) -> list[str]:
    """What makes Java use its archive, and say nothing of one that it refuses.

    Where the environment names no folder for archives there is none; where it says so, a missing one is written first.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return []
    try:
        path = Path(folder) / f"jvm-{_fingerprint(java)}.jsa"
        if not path.is_file() and os.environ.get(WRITE_VARIABLE):
            _write(java, path)
        if not path.is_file():
            return []
    except (OSError, subprocess.SubprocessError) as error:
        log.debug("no archive of Java's classes, which only makes the start slower: %s", error)
        return []
    return [f"-XX:SharedArchiveFile={path}", "-Xlog:cds*=off:stderr"]


def _fingerprint(java: JavaStart) -> str:
    """Another Java, another PyPMML and other options each have an archive of their own."""
    known = hashlib.sha256("\0".join(java.options).encode())
    for file in (java.library, _CLASSES, *java.class_path):
        status = file.stat()
        known.update(f"\0{file}\0{status.st_size}\0{status.st_mtime_ns}".encode())
    return known.hexdigest()[:16]


def _write(java: JavaStart, path: Path) -> None:
    """Write the archive, whole or not at all, unless another process does. Raises `OSError`, `SubprocessError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unfinished = path.with_suffix(".part")
        _dump(java, unfinished)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())  # a power cut must not leave the name without the bytes
        unfinished.replace(path)
    for former in path.parent.glob("jvm-*.jsa"):
        if former != path:
            former.unlink(missing_ok=True)


def _dump(java: JavaStart, target: Path) -> None:
    """A Java of its own reads the listed classes and writes them as it will want to map them."""
    command = [
        str(java.library.parents[2] / "bin" / "java"),
        "-XX:+IgnoreUnrecognizedVMOptions",
        *java.options,
        "-Xmx128m",
        "-Xshare:dump",
        f"-XX:SharedClassListFile={_CLASSES}",
        f"-XX:SharedArchiveFile={target}",
        "-cp",
        os.pathsep.join(map(str, java.class_path)),
    ]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_time_to_spend(), check=True)


def _time_to_spend() -> float:
    """Where this process has a time limit, no more than a quarter of what is left of it."""
    left_s, _ = signal.getitimer(signal.ITIMER_REAL)
    return min(_LONGEST_S, left_s / 4) if left_s else _LONGEST_S
