"""Does the commands of pages as processes of their own that need not import anything: most of a short one's time.

`python -m tests.docs.typist DOOR` forks for each that `typed.py` brings to the socket DOOR, with that one's streams,
folder and environment. What runs is the product's own command line.
"""

import json
import os
import pkgutil
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import cli
from cli.main import main as command_line

ROOT = Path(__file__).resolve().parents[2]
CLIENT = Path(__file__).with_name("typed.py")


@contextmanager
def typing(folder: Path) -> Iterator[str]:
    """A line of bash that makes `portside` a command, for the length of the block."""
    door = folder / "door"
    command = [sys.executable, "-m", "tests.docs.typist", str(door)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), "the command line cannot be imported"
            yield f'portside() {{ {shlex.join([sys.executable, "-I", "-S", str(CLIENT), str(door)])} "$@"; }}\n'
        finally:
            process.terminate()


def serve(door: Path) -> None:
    """Fork for each command; the kernel buries the dead."""
    for module in pkgutil.walk_packages(cli.__path__, "cli."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(door))
        listener.listen()
        print("ready", flush=True)
        while True:
            client, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _do(client)
            client.close()


def _do(client: socket.socket) -> NoReturn:
    """The command, and how it has ended; who dies of it says nothing."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, _, _ = socket.recv_fds(client, 1, 3)
    for target, source in enumerate(streams):
        os.dup2(source, target)
        os.close(source)
    with client.makefile("rb") as reader:
        wish = json.load(reader)
    os.chdir(wish["folder"])
    os.environ.clear()
    os.environ.update(wish["environment"])
    sys.argv = ["portside", *wish["words"]]
    status = 1
    try:
        status = command_line()
    except SystemExit as left:
        status = int(left.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        client.sendall(str(status).encode())
        os._exit(status)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
