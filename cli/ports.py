"""Who listens on a port, where the kernel tells (Linux): for the one sentence about a port that is busy."""

from pathlib import Path

LISTENING = "0A"  # tcp(7): the state column of /proc/net/tcp
SHOWN_CHARACTERS = 60


def listener_of(port: int, proc: Path = Path("/proc")) -> str | None:
    """`process 4711 (python -m http.server)`, or nothing where it cannot be read."""
    sockets = _listening_sockets(port, proc)
    if not sockets:
        return None
    for process in sorted(proc.glob("[0-9]*")):
        if _holds_any(process, sockets):
            return f"process {process.name}{_command(process)}"
    return None


def _listening_sockets(port: int, proc: Path) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for columns in map(str.split, lines):
            if columns[3] == LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{columns[9]}]")
    return found


def _holds_any(process: Path, sockets: set[str]) -> bool:
    try:
        descriptors = list((process / "fd").iterdir())
    except OSError:  # somebody else's process, or it ended meanwhile
        return False
    for descriptor in descriptors:
        try:
            if str(descriptor.readlink()) in sockets:
                return True
        except OSError:  # closed meanwhile
            continue
    return False


def _command(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().strip(b"\0").split(b"\0")
    except OSError:
        return ""
    program, *arguments = (word.decode(errors="replace") for word in words)
    line = " ".join([Path(program).name, *arguments])
    return f" ({line[:SHOWN_CHARACTERS]}…)" if len(line) > SHOWN_CHARACTERS else f" ({line})"
