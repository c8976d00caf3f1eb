"""What a server process owes its surroundings: memory and thread limits, a clean stdout, an end with its parent.

All of it is done before the heavy imports, so this module may import the standard library only.
"""

import io
import os
import resource
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import Any, BinaryIO

# The interpreter, numpy and onnxruntime need this much beside a JVM's heap (measured: 170 MB, and some air).
OVERHEAD_MB = 200
SMALLEST_HEAP_MB = 64
# Below this the libraries crash while they are imported, each in its own way.
SMALLEST_MB = 96
# Read by the engine that starts the JVM.
HEAP_VARIABLE = "PORTSIDE_JVM_MAX_HEAP_MB"
LASTS_VARIABLE = "PORTSIDE_JVM_LASTS"
FIRST_HEAP_VARIABLE = "PORTSIDE_JVM_FIRST_HEAP_MB"
# A table of answers that does not fit into a young generation is copied again and again: twice the time for each row.
BULK_HEAP_MB = 256
GPUS_VARIABLE = "PORTSIDE_GPUS"  # read by the engine that opens sessions


def limit_memory(memory_mb: int | None) -> None:
    """Bound this process' data segment, and tell an engine with a heap of its own how large that may be.

    RLIMIT_DATA and not RLIMIT_AS: a JVM reserves address space that it never touches.
    """
    if memory_mb is None:
        return
    os.environ[HEAP_VARIABLE] = str(max(SMALLEST_HEAP_MB, memory_mb - OVERHEAD_MB))
    limit = memory_mb * 1024 * 1024
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def limit_threads(threads: int) -> None:
    """Keep BLAS and OpenMP from starting a thread per core in every replica; they read this when they are imported."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
        os.environ[variable] = str(threads)


def ask_for_gpus(gpus: int) -> None:
    """Tell the engines how many GPUs this process may use; with one, none of them may fall back to the processor."""
    os.environ[GPUS_VARIABLE] = str(gpus)


def expect_to_last() -> None:
    """Tell an engine with a compiler of its own that this process answers for long: good code is worth the start."""
    os.environ[LASTS_VARIABLE] = "1"


def expect_bulk() -> None:
    """Likewise, and for many rows in each call: room for their answers is worth the memory."""
    expect_to_last()
    most = int(os.environ.get(HEAP_VARIABLE, BULK_HEAP_MB))
    os.environ[FIRST_HEAP_VARIABLE] = str(min(BULK_HEAP_MB, most))


def take_stdout() -> BinaryIO:
    """The real stdout for us alone; whatever libraries or model code print to fd 1 goes to stderr from now on."""
    sys.stdout.flush()
    private = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return private


def forgive_full_log() -> None:
    """From now on what cannot be written to stderr is lost: a full disk under the log is no reason to end, or to leave
    whoever waits for the rest of the work without an answer."""
    kept = io.BufferedWriter(_Forgiving(sys.stderr.fileno(), "wb", closefd=False))
    sys.stderr = io.TextIOWrapper(kept, "utf-8", "backslashreplace", line_buffering=True)


class _Forgiving(io.FileIO):
    def write(self, data: Any, /) -> int:
        written: int | None = None  # also of one that would block
        with suppress(OSError):
            written = super().write(data)
        return memoryview(data).nbytes if written is None else written


def take_socket(fd: int) -> socket.socket:
    """The socket that our parent passed, for us alone: nothing that we start inherits it or finds it at this number."""
    found = socket.socket(fileno=os.dup(fd))
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, fd)
    os.close(nowhere)
    return found


def end_with_parent(fd: int) -> None:
    """End this process as soon as the write end of this pipe is closed, whatever else it is doing then."""

    def watch() -> None:
        try:
            while os.read(fd, 512):
                pass
        except OSError as error:
            sys.stderr.write(f"--parent-fd {fd} cannot be read ({error.strerror}); ending\n")
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)  # a Java that writes an archive for us ends with us
        # Nobody is left to answer to, and a graceful end could hang in the engine that is being loaded.
        os._exit(0)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def end_after(seconds: float, out: BinaryIO, last_words: bytes, code: int) -> None:
    """End this process with these last words on `out` when it still runs after this time."""

    def expire() -> None:
        out.write(last_words)
        os._exit(code)

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    # A parser that never lets go of the interpreter lock also stops the timer's thread: then the kernel ends us.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds + 2)
