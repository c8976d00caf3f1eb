"""Starts platforms in a fifth of a second: a process that has imported everything forks for each of them.

`python -m tests.crash.forge` reads one JSON object a line and answers one with the new process' id. What is forked is
the product's own command line, and dies like it; only its imports were made before. A wish may name a mutation.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, NoReturn, Self

# What the commands import when they start: the forge has it before the first one.
import cli.address
import cli.folder
import cli.roles.api
import cli.roles.migrate
import cli.roles.node
import cli.roles.process
import cli.roles.worker
import cli.settings
import cli.up  # noqa: F401  used by the forked command
from cli.main import main as command_line
from tests.crash.broken import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]


class Forge:
    """The other end of the pipe: asks for processes. They end when the forge does."""

    def __init__(self) -> None:
        self._mutation: str | None = None
        command = [sys.executable, "-m", "tests.crash.forge"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), "the forge cannot import the product"

    def breaking(self, mutation: str) -> Self:
        """The same forge, for processes with one protection broken."""
        broken = copy(self)
        broken._mutation = mutation
        return broken

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> int:
        """Run `portside` with these arguments; answers its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        wish = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "log": str(log),
            "mutation": self._mutation,
        }
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline())["pid"])

    def close(self) -> None:
        """End the forge, and by the end of its pipe what it has started."""
        self._process.terminate()
        self._process.communicate()


def serve() -> None:
    """Fork for each line; the kernel buries the dead."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    read_end, write_end = os.pipe()  # nobody writes: who holds the read end sees us end
    print("ready", flush=True)
    for line in sys.stdin:
        wish: dict[str, Any] = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.close(write_end)
            _become(wish, read_end)
        print(json.dumps({"pid": pid}), flush=True)


def _become(wish: Mapping[str, Any], parent_fd: int) -> NoReturn:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(wish["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDWR)
    for target, source in ((0, nothing), (1, nothing), (2, log)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(wish["environment"])
    watched = ["--parent-fd", str(parent_fd)] if wish["arguments"][0] != "migrate" else []
    sys.argv = ["portside", *wish["arguments"], *watched]
    status = 1
    try:
        if wish["mutation"]:
            MUTATIONS[wish["mutation"]]()  # after the imports, which it changes
        status = command_line()
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
