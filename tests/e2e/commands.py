"""The command line as a user has it, in this process: starting one for each verb would take a test most of its time."""

from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO

from cli.main import main
from tests.e2e.platform import RunningPlatform


@dataclass(frozen=True)
class Said:
    """How a verb ended and what it printed; nobody has sat at a terminal."""

    exit_status: int
    out: str
    err: str


def verb(running: RunningPlatform, *words: str) -> Said:
    """A client verb against the platform."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = main(["--api", running.url, *words])
        except SystemExit as left:  # typer's own way out
            status = int(left.code or 0)
    return Said(status, out.getvalue(), err.getvalue())


def data(running: RunningPlatform, *words: str) -> str:
    """What a verb that succeeds prints as data."""
    said = verb(running, *words)
    assert said.exit_status == 0, f"{words}\n{said.out}\n{said.err}"
    return said.out
