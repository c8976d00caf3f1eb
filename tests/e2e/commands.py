"""The command line as a user has it: in this process, since starting one for each verb would take most of the time.

Where a terminal or a long run matters it is a process of its own.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from cli.main import main
from tests.e2e.platform import forge

COMMAND_S = 120


class Addressed(Protocol):
    """A platform that can be reached."""

    @property
    def url(self) -> str: ...


@dataclass(frozen=True)
class Said:
    """How a verb ended and what it printed; nobody has sat at a terminal."""

    exit_status: int
    out: str
    err: str


def verb(running: Addressed, *words: str) -> Said:
    """A client verb against the platform."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(["--api", running.url, *words])
        except SystemExit as left:  # typer's own way out
            status = int(left.code or 0)
    return Said(status, out.getvalue(), err.getvalue())


def command(*words: str, **variables: str) -> Said:
    """A command of the operator's in a process of its own; its imports, most of what it costs, were made before."""
    with TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        process = forge().popen(words, {**os.environ, "NO_COLOR": "1", **variables}, err, out)
        try:
            status = process.wait(COMMAND_S)
        finally:
            process.kill()
        return Said(status, out.read_text("utf-8"), err.read_text("utf-8"))


def data(running: Addressed, *words: str) -> str:
    """What a verb that succeeds prints as data."""
    said = verb(running, *words)
    assert said.exit_status == 0, f"{words}\n{said.out}\n{said.err}"
    return said.out


def at_a_terminal(running: Addressed, *words: str, answer: str = "", **environment: str) -> Said:
    """The verb as a process with a terminal, at which somebody types an answer; both streams come together."""
    outer, inner = os.openpty()
    command = [sys.executable, "-m", "portside", "--api", running.url, *words]
    given = {**os.environ, "TERM": "xterm", "COLUMNS": "160", **environment}
    with subprocess.Popen(command, env=given, stdin=inner, stdout=inner, stderr=inner) as process:
        os.close(inner)
        os.write(outer, answer.encode())
        seen = b""
        with suppress(OSError):  # how a terminal says that nobody writes any more
            while piece := os.read(outer, 65536):
                seen += piece
    os.close(outer)
    return Said(process.returncode, seen.decode(), "")


@contextmanager
def following(running: Addressed, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A verb that goes on until the end of the block."""
    command = [sys.executable, "-m", "portside", "--api", running.url, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
