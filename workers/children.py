"""Short children of a worker (`serving inspect`, `serving test`) and what every child process is given.

A child gets a constructed environment, never ours, and the read end of a pipe whose write end we hold: it ends with us.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.settings import Settings
from workers.lines import LineReader

ROOMS = Path(__file__).resolve().parent.parent
SHORT_CHILD_NICENESS = 10
STDERR_KEPT_BYTES = 64 * 1024
STDOUT_KEPT_BYTES = 64 * 1024 * 1024
REPORT_BYTES = 64 * 1024  # the longest line of a report

Hear = Callable[[bytes], Awaitable[None]]  # is told each line that the child reports


@dataclass(frozen=True, slots=True)
class ChildEnd:
    """How a short child ended. `exit_code` is negative for a signal; `timed_out` says that we ended it."""

    exit_code: int
    stdout: bytes
    stderr: str
    timed_out: bool


def child_environment(cache: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """A minimal environment in which `python -P -m serving` finds itself and what it keeps in the cache folder.

    `extra` wins over what we only propose.
    """
    base = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "HOME": "/nonexistent",
        "PYTHONUNBUFFERED": "1",
        "PYTHONNOUSERSITE": "1",  # HOME may be the user's word, and a folder of packages there would be run
        "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime looks at it while it is imported
    }
    inherited = {name: os.environ[name] for name in ("TMPDIR", "PORTSIDE_JAVA_HOME") if name in os.environ}
    archives = str(cache.absolute() / "jvm")  # a Java starts in half the time from one
    return {**base, **inherited, **extra, "PORTSIDE_JVM_ARCHIVES": archives, "PYTHONPATH": str(ROOMS)}


def serving_command(settings: Settings, *arguments: str) -> list[str]:
    """The command line of the model server's interpreter; `-P` keeps the current folder off its path."""
    return [settings.serving_python or sys.executable, "-P", "-m", "serving", *arguments]


async def run_child(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    stdin: bytes,
    timeout_s: float,
    pass_fds: Sequence[int] = (),
) -> ChildEnd:
    """Run a short child to its end, or end its whole process group at the time limit or when we are cancelled.

    The command receives `--parent-fd N` as its last arguments.
    """
    with _held_pipe() as pipe:
        process = await asyncio.create_subprocess_exec(
            *command,
            "--parent-fd",
            str(pipe.read_end),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            cwd=ROOMS,
            pass_fds=(pipe.read_end, *pass_fds),
            start_new_session=True,
        )
        pipe.let_go()
        step_back(process.pid)
        said = _Said()
        try:
            async with asyncio.timeout(timeout_s):
                return said.end(await said.hear(process, stdin), timed_out=False)
        except TimeoutError:
            _kill_group(process.pid)
            return said.end(await process.wait(), timed_out=True)
        finally:
            if process.returncode is None:
                _kill_group(process.pid)
                await process.wait()


class _Pipe:
    """A pipe whose write end we hold for as long as a child shall live; the child has the read end."""

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()

    def let_go(self) -> None:
        """Close our copy of the child's end, once."""
        if self.read_end >= 0:
            os.close(self.read_end)
            self.read_end = -1

    def close(self) -> None:
        """Close both: the child sees its end."""
        self.let_go()
        os.close(self._write_end)


@contextlib.contextmanager
def _held_pipe() -> Iterator[_Pipe]:
    pipe = _Pipe()
    try:
        yield pipe
    finally:
        pipe.close()


async def run_reporting_child(
    command: Sequence[str], *, environment: Mapping[str, str], timeout_s: float, hear: Hear
) -> ChildEnd:
    """The same for a child that tells how far it is: it receives `--report-fd N`, too. Raises what `hear` raises."""
    read_end, write_end = os.pipe()
    told = [*command, "--report-fd", str(write_end)]
    reader = LineReader(read_end, REPORT_BYTES)
    hearing = asyncio.create_task(_hear_all(reader, hear), name="child's reports")
    try:
        try:
            end = await run_child(told, environment=environment, stdin=b"", timeout_s=timeout_s, pass_fds=(write_end,))
        finally:
            os.close(write_end)
        reader.end_when_empty()
        await hearing
        return end
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        reader.close()


async def _hear_all(reader: LineReader, hear: Hear) -> None:
    while line := await reader.readline():
        await hear(line)


class _Said:
    """What a child prints, as much of it as is kept: one that prints without end must not take our memory."""

    def __init__(self) -> None:
        self._stdout, self._stderr = bytearray(), bytearray()

    async def hear(self, process: asyncio.subprocess.Process, stdin: bytes) -> int:
        """Talk to the child until it ends; it is ended where it prints too much. Answers its exit code."""
        await asyncio.gather(_tell(process, stdin), self._hear_stdout(process), self._hear_stderr(process))
        return await process.wait()

    def end(self, exit_code: int, *, timed_out: bool) -> ChildEnd:
        """How the child ended."""
        errors = self._stderr[-STDERR_KEPT_BYTES:].decode(errors="replace")
        return ChildEnd(exit_code, bytes(self._stdout), errors, timed_out)

    async def _hear_stdout(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while piece := await process.stdout.read(STDERR_KEPT_BYTES):
            if len(self._stdout) + len(piece) > STDOUT_KEPT_BYTES:
                _kill_group(process.pid)
                self._stderr += b"\nit printed more than %d MiB\n" % (STDOUT_KEPT_BYTES // 2**20)
                return
            self._stdout += piece

    async def _hear_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while piece := await process.stderr.read(STDERR_KEPT_BYTES):
            self._stderr += piece
            del self._stderr[: -2 * STDERR_KEPT_BYTES]


async def _tell(process: asyncio.subprocess.Process, stdin: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has ended, or does not want it
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()


def step_back(pid: int) -> None:
    """Let predictions go first where there are fewer cores than work; its threads inherit what is set this early."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpriority(os.PRIO_PROCESS, pid) < SHORT_CHILD_NICENESS:  # we may step back further than that ourselves
            os.setpriority(os.PRIO_PROCESS, pid, SHORT_CHILD_NICENESS)
    # Linux may schedule sessions as groups, where niceness counts only within one, and the child has its own: sched(7).
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(SHORT_CHILD_NICENESS), "ascii")


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended by itself meanwhile
        os.killpg(pid, signal.SIGKILL)
