"""The runtime folder with the replicas' unix sockets, and the question "are you ready?" over one of them or TCP.

The path of a socket has at most 104 bytes (macOS) or 108 (Linux) with its end: the names here are short on purpose.
"""

import asyncio
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from core.errors import PlatformError

LONGEST_SOCKET_PATH = 103
SHORT_ID = 10  # the last characters of an id are its random ones
READY_REQUEST = "GET /readyz HTTP/1.1\r\nHost: replica\r\n{}Connection: close\r\n\r\n"


class NoRuntimeFolder(PlatformError):
    """There is no safe, short place for unix sockets."""

    code, title = "no_runtime_folder", "No folder for sockets"


def open_runtime_folder(data: Path) -> Path:
    """An empty folder (0700) that belongs to this data folder; what a former life left in it is removed.

    Raises `NoRuntimeFolder`.
    """
    name = hashlib.sha256(os.fsencode(data.absolute())).hexdigest()[:8]
    base = _base()
    folder = base / name
    if len(os.fsencode(replica_folder(folder, "rep_" + "0" * 26) / "s")) > LONGEST_SOCKET_PATH:
        raise NoRuntimeFolder(f"the path {folder} is too long for a unix socket; set XDG_RUNTIME_DIR to a shorter one")
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        _must_be_ours(base)
        remove_folder(folder)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise NoRuntimeFolder(f"{folder} cannot be made ({error.strerror}); set XDG_RUNTIME_DIR to another") from error
    return folder


def _base() -> Path:
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given and Path(given).is_dir() and os.access(given, os.W_OK):
        return Path(given) / "portside"
    return Path(tempfile.gettempdir()) / f"portside-{os.getuid()}"


def _must_be_ours(base: Path) -> None:
    # Everybody may write to the folder for temporary files: another user may have been there first.
    found = base.lstat()
    if base.is_symlink() or found.st_uid != os.getuid():
        raise NoRuntimeFolder(f"{base} belongs to somebody else; set XDG_RUNTIME_DIR to a folder of yours")
    base.chmod(0o700)


def replica_folder(runtime: Path, replica_id: str) -> Path:
    """The folder of one replica: its socket, its signature, its current folder."""
    return runtime / replica_id[-SHORT_ID:]


def remove_folder(folder: Path) -> None:
    """Remove a folder of ours with all that is in it, if it exists."""
    shutil.rmtree(folder, ignore_errors=True)


def http_address(host: str, port: int) -> str:
    """The URL of a port; an IPv6 address stands in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def is_ready(address: str, token: str | None, timeout_s: float) -> bool:
    """Whether the model server at `unix:///path` or `http://host:port` says that it can answer predictions."""
    request = READY_REQUEST.format(f"Authorization: Bearer {token}\r\n" if token else "")
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await _connected(address)
            try:
                writer.write(request.encode())
                status_line = await reader.readline()
            finally:
                writer.close()
    except (OSError, ValueError):  # nobody listens (yet), it went away, time is up; a line without an end
        return False
    return status_line.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))


async def _connected(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(address)
    if parts.scheme == "unix":
        return await asyncio.open_unix_connection(parts.path)
    return await asyncio.open_connection(parts.hostname, parts.port)
