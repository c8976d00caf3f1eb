"""`portside up` as a child process: started, awaited, and ended by its process id. It ends with us, however we end."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from cli.client import Platform
from cli.failure import CommandFailed
from cli.folder import address_of

LOOK_S = 0.02
START_S = 60.0
STOP_S = 30.0
ROOMS = Path(__file__).resolve().parent.parent


@contextmanager
def running_platform(data: Path, port: int | None) -> Iterator[Platform]:
    """A platform on this folder, for the length of the block. Raises `CommandFailed` with its own sentence."""
    read_end, write_end = os.pipe()  # nobody writes: the child reads its end when we end
    command = [sys.executable, "-P", "-m", "cli", "up", "--data", str(data), "--parent-fd", str(read_end)]
    # Loopback, whatever the environment says: only there no token is needed and our own webhooks may arrive.
    command += ["--host", "127.0.0.1", *([] if port is None else ["--port", str(port)])]
    environment = {**os.environ, "PYTHONPATH": str(ROOMS)}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=(read_end,),
            start_new_session=True,  # the terminal's Ctrl-C is ours, and we pass it on
        )
        os.close(read_end)
        try:
            url = _ready_url(process, data)
            if url is None:
                errors.seek(0)
                raise CommandFailed(_sentence(errors.read().decode(errors="replace")))
            with Platform(url) as platform:
                yield platform
        finally:
            _end(process)
            os.close(write_end)


def _ready_url(process: subprocess.Popen[bytes], data: Path) -> str | None:
    """The address once it answers /readyz; nothing when the process has ended before."""
    deadline = time.monotonic() + START_S
    while process.poll() is None:
        url = address_of(data, process.pid)
        if url is not None and _is_ready(url):
            return url
        if time.monotonic() > deadline:
            raise CommandFailed(f"The platform was not ready within {START_S:g} s; see {data}/logs/portside.log.")
        time.sleep(LOOK_S)
    return None


def _is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=5, trust_env=False).is_success
    except httpx2.HTTPError:
        return False


def _sentence(said: str) -> str:
    """What a platform that did not start has said, without its label."""
    return said.strip().removeprefix("Error: ") or "The platform ended before it was ready and said nothing."


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end and wait; a second Ctrl-C, or too long a wait, ends it at once."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()
