"""One child process: started in a session of its own, ended by its process id, killed when this one ends unasked.

Most programs cannot end when a pipe ends: a guard does it for them, a shell that reads the pipe and then kills.
"""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

LOOK_S = 0.02
PORTS = (15_000, 32_000)
_given: list[socket.socket] = []
GUARD = 'read -r _; kill -KILL "$1" 2>/dev/null'
SHOWN_BYTES = 2000


class StackFailed(Exception):
    """A process of the stack did not do what it was started for; the message has the end of its log."""


class Child:
    """One process and its guard; its output goes to the end of a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self.log = process, log
        read_end, write_end = os.pipe()
        self._write_end: int | None = write_end
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", str(process.pid)],
            stdin=read_end,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # the terminal's Ctrl-C is ours
        )
        os.close(read_end)

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> Self:
        """Start the command with exactly this environment (none: ours)."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(process, log)

    @property
    def pid(self) -> int:
        """Its process id, also after its end."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status; none while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> int:
        """Wait for its own end. Raises `StackFailed` when it does not come in time."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise StackFailed(
                f"process {self.pid} has not ended within {timeout_s:g} s: {self.last_words()}"
            ) from error

    def await_ready(self, look: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Look until it is ready. Raises `StackFailed`, with the end of its log."""
        deadline = time.monotonic() + timeout_s
        while not look():
            if self.status is not None:
                raise StackFailed(f"{what} ended with status {self.status}: {self.last_words()}")
            if time.monotonic() > deadline:
                raise StackFailed(f"{what} was not ready within {timeout_s:g} s: {self.last_words()}")
            time.sleep(LOOK_S)

    def send(self, number: signal.Signals) -> None:
        """Send one signal to the process alone; nothing happens where it has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it and everything that it has started, at once and with no last word, as when a container is killed."""
        family = self._frozen_family()
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        self._process.wait()
        while any(map(_is_alive, family)):
            time.sleep(LOOK_S / 10)
        self._dismiss_guard()

    def pause(self) -> None:
        """SIGSTOP to it and everything that it has started."""
        for one in self._frozen_family():
            with suppress(psutil.NoSuchProcess):
                one.suspend()

    def resume(self) -> None:
        """SIGCONT to all of them, the youngest first."""
        for one in reversed(self._frozen_family()):
            with suppress(psutil.NoSuchProcess):
                one.resume()

    def stop(self, grace_s: float, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, wait, and kill it after the grace; its exit status."""
        self.resume()
        self._process.send_signal(number)
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._dismiss_guard()
        return self._process.returncode

    def last_words(self) -> str:
        """The end of its log."""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - SHOWN_BYTES))
            return f"\n{log.read().decode(errors='replace')}\n({self.log})"

    def _frozen_family(self) -> list[psutil.Process]:
        """The process, stopped so that it starts no more of them, and its descendants."""
        if self.status is not None:
            return []
        parent = psutil.Process(self.pid)
        parent.suspend()
        return [parent, *parent.children(recursive=True)]

    def _dismiss_guard(self) -> None:
        if self._write_end is not None:
            self._guard.kill()  # before its pipe ends, or it would kill whoever has the number by then
            self._guard.wait()
            os.close(self._write_end)
            self._write_end = None


def _is_alive(process: psutil.Process) -> bool:
    """Whether it still runs; a zombie that nobody has asked for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now, nor gets by chance while its owner is down for a moment.

    Below the range from which systems give ports to outgoing connections (Linux 32768, others 49152 and up). None is
    given twice on a machine, by whichever process: who got it may not listen yet. A UDP socket of the same number,
    which nobody else can have, says so for as long as we live. Three stacks at once would meet in one of 25 starts.
    """
    while True:
        port = random.randrange(*PORTS)  # noqa: S311  spreads, guards nothing
        holder = socket.socket(type=socket.SOCK_DGRAM)
        try:
            holder.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            holder.close()
            continue
        _given.append(holder)
        return port


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0
