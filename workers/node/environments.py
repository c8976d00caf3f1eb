"""Virtual environments of scripts: made once for an interpreter and a list of requirements, by `uv`, then only read.

One is made aside under a lock and gets its name when it is complete. In each of them `import portside.run` works,
from behind what is installed there: a client that the requirements bring is the one that is imported.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from uv import find_uv_bin

from core.errors import PlatformError, Unavailable
from workers.children import ROOMS
from workers.node.keeping import End, Kept, keep
from workers.node.logs import last_lines

LINES_KEPT: Final = 20
MAKING: Final = "making-"  # begins the name of a folder in which one is made
LOCK_LOOK_S: Final = 0.1
# Beside the rooms in a checkout, above them where they are installed.
REPORTING: Final = next(each for each in (ROOMS / "portside" / "run.py", ROOMS.parent / "run.py") if each.exists())
STUB: Final = '"""Only `portside.run` is here; the whole client comes with the requirement `portside`."""\n'
# What an operator says to uv and to whoever it calls is for uv here, too.
INHERITED: Final = ("HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
                    "http_proxy", "https_proxy", "all_proxy", "no_proxy", "NETRC")  # fmt: skip
FORM: Final = "1"  # of what we make; another one makes all anew


class EnvironmentFailed(PlatformError):
    """The requirements of a script cannot be installed."""

    status, code, title = 422, "environment_failed", "The script's environment cannot be made"


class EnvironmentStopped(Unavailable):
    """Nobody waits for the environment any more."""

    code, title = "environment_stopped", "The environment is not needed any more"


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where environments are made and kept; `builds` whether a requirement without a wheel may be built."""

    python: Path
    folder: Path
    cache: Path
    parent_fd: int
    timeout_s: float
    builds: bool


async def environment_of(workshop: Workshop, requirements: str, log_path: Path) -> Path:
    """The folder of an environment with these requirements. What uv says goes to the log.

    Raises `EnvironmentFailed` with uv's last lines.
    """
    place = workshop.folder / await asyncio.to_thread(_digest, workshop.python, requirements)
    if await asyncio.to_thread(_is_there, place):
        return place
    async with _alone(place.with_suffix(".lock")):
        if not await asyncio.to_thread(_is_there, place):
            await _make(workshop, place, requirements, log_path)
    return place


async def _make(workshop: Workshop, place: Path, requirements: str, log_path: Path) -> None:
    aside = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=MAKING, dir=workshop.folder))
    try:
        made = aside / "environment"
        uv, python = find_uv_bin(), str(made / "bin" / "python")
        with log_path.open("a", encoding="utf-8") as log:
            log.write("portside: makes an environment for the script\n")
        common = ["--quiet", "--no-progress", "--color", "never"]
        new = [uv, "venv", *common, "--no-project", "--no-config", "--relocatable", "--python", str(workshop.python)]
        await _uv(workshop, [*new, str(made)], aside, log_path)
        if requirements.strip():
            listed = aside / "requirements.txt"
            await asyncio.to_thread(listed.write_text, requirements, "utf-8")
            given = ["--require-hashes"] if "--hash=" in requirements else []
            given += [] if workshop.builds else ["--no-build"]
            install = [uv, "pip", "install", *common, "--python", python, "-r", str(listed), *given]
            await _uv(workshop, install, aside, log_path)
        await asyncio.to_thread(_complete, made, place)
    finally:
        await asyncio.to_thread(shutil.rmtree, aside, True)


async def _uv(workshop: Workshop, command: Sequence[str], desk: Path, log_path: Path) -> None:
    kept = Kept(command, _variables(workshop), desk, desk, log_path, workshop.parent_fd, umask=0o022)
    running = await keep(kept)
    try:
        async with asyncio.timeout(workshop.timeout_s):
            end = await running.end()
    except TimeoutError as error:
        raise EnvironmentFailed(
            f"the environment was not made within {workshop.timeout_s:g} s (PORTSIDE_ENVIRONMENT_TIMEOUT_S)"
        ) from error
    finally:
        running.child.signal(signal.SIGTERM)
        running.close()
    _check(end, await asyncio.to_thread(last_lines, log_path, LINES_KEPT))


def _check(end: End, lines: str) -> None:
    if end.code == 0:
        return
    if not end.is_told:
        raise EnvironmentStopped("what makes the environment was ended; it is tried again")
    raise EnvironmentFailed(f"the requirements cannot be installed; uv says:\n{lines}", last_lines=lines)


def _variables(workshop: Workshop) -> Mapping[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name in INHERITED or name.startswith("UV_")}
    own = {"PATH": os.defpath, "LANG": "C.UTF-8", "UV_CACHE_DIR": str(workshop.cache), "UV_PYTHON_DOWNLOADS": "never"}
    return {**inherited, **own}


def _digest(python: Path, requirements: str) -> str:
    found = python.stat()
    what = [FORM, str(python), found.st_size, found.st_mtime_ns, requirements, REPORTING.read_text("utf-8")]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def _is_there(place: Path) -> bool:
    with suppress(FileNotFoundError):
        os.utime(place)  # when it was needed last
        return True
    return False


def _complete(made: Path, place: Path) -> None:
    """Put what reports into it, behind all that is installed, and give it its name."""
    (site,) = made.glob("lib/python*/site-packages")
    package = made / "lib" / "reporting" / "portside"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(STUB, "utf-8")
    shutil.copyfile(REPORTING, package / "run.py")
    (site / "zz-portside-run.pth").write_text("../../reporting\n", "utf-8")
    made.chmod(0o755)
    made.rename(place)


@asynccontextmanager
async def _alone(path: Path) -> AsyncIterator[None]:
    """While the block runs nobody else makes the same, in whatever process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(LOCK_LOOK_S)
        yield
    finally:
        os.close(lock)
