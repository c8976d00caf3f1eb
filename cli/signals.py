"""How a server process is asked to stop, and how it says so when nobody may be reading."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cli.failure import Exit


def say(words: str) -> None:
    """Tell who reads stderr; that nobody does any more must not keep the platform from stopping."""
    try:
        print(words, file=sys.stderr, flush=True)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())  # else the interpreter fails at its end, on what is still in the buffer
        os.close(nowhere)


@contextmanager
def stop_signals(stop: asyncio.Event, parent_fd: int | None = None) -> Iterator[None]:
    """The first SIGINT or SIGTERM, or the end of `parent_fd`, asks for a drain; the second ends the process at once."""
    loop = asyncio.get_running_loop()

    def ask(why: str) -> None:
        if stop.is_set():
            os._exit(Exit.INTERRUPTED)  # children end by the end of their pipe; work goes on at the next start
        stop.set()
        say(f"\n{why}: finishing what is running; once more to stop at once.")

    def parent_ended() -> None:
        if parent_fd is not None:
            loop.remove_reader(parent_fd)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask, number.name)
    if parent_fd is not None:
        loop.add_reader(parent_fd, parent_ended)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
