"""`python -m serving batch`, once limits are set: a plan is read, prepared for, run, and told how it ended."""

import argparse
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType
from typing import Final

import pyarrow as pa

from serving.batch.log import RunLog
from serving.batch.plan import BatchFailed, Resume, read_plan
from serving.batch.prepare import prepare
from serving.batch.run import Acknowledged, Committer, Events, Feeder, Prepared, StopAsked
from serving.batch.talk import Reports, acknowledged
from serving.data.formats import DatasetInvalid, Position
from serving.engines.base import InvalidModel

DATA_ERROR: Final = 65
BUG: Final = 70  # EX_SOFTWARE of sysexits.h: what should not happen has, and stderr says what
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_OF_MODELS: Final = {"memory_limit_exceeded": "out_of_memory", "disk_full": "disk_full"}
_LAST_S: Final = 1.4  # what has not ended by then, after a signal to end, is ended by the kernel


def run_batch(options: argparse.Namespace) -> int:
    """Run a plan to its end, or until told to end; returns the exit status."""
    events: Events = SimpleQueue()
    _heed_signals(events)
    status = BUG
    try:
        status = _ended(options, Reports(options.report_fd), events)
    finally:
        if status == BUG:
            # Not by way of the interpreter's end, which would wait for threads that wait for us.
            traceback.print_exc(file=sys.stderr)
            sys.stderr.flush()
            os._exit(status)
    return status


def _ended(options: argparse.Namespace, reports: Reports, events: Events) -> int:
    log = RunLog()
    try:
        with _failures_told():
            is_done = _run(options, reports, events, log)
    except BatchFailed as error:
        log.failed(error)
        reports.tell("failed", {"problem": error.as_json()})
        return DATA_ERROR
    if not is_done:
        log.paused()
        reports.tell("paused")
    return 0


def _run(options: argparse.Namespace, reports: Reports, events: Events, log: RunLog) -> bool:
    """Whether all is done; else the run was told to end."""
    plan = read_plan(options.plan)
    resume = plan.resume or Resume(Position())
    pa.set_cpu_count(plan.parallelism)
    # Not in this thread, which hears signals: a model may take long to load.
    loading = ThreadPoolExecutor(1, "load").submit(prepare, options, plan, resume)
    loading.add_done_callback(lambda future: events.put(Prepared(future)))
    if not isinstance(events.get(), Prepared):
        return False
    ready = loading.result()
    threading.Thread(target=_hear, args=(options.ack_fd, events), name="acks", daemon=True).start()
    reports.tell("started", ready.as_json())
    log.begun(plan, resume, ready.rows, ready.chunk_rows)
    feeder = Feeder(ready.source, ready.chunks, plan.parallelism, events, resume.position.chunk)
    feeder.start()
    return Committer(reports, events, ready.chunks, feeder, plan.on_error, resume, log).run()


def _hear(fd: int, events: Events) -> None:
    """Hand on what the platform acknowledges; where that has gone, end at once."""
    try:
        for chunk in acknowledged(fd):
            events.put(Acknowledged(chunk))
    finally:
        os._exit(0)


def _heed_signals(events: Events) -> None:
    def heed(number: int, frame: FrameType | None) -> None:
        del number, frame
        if not signal.getitimer(signal.ITIMER_REAL)[0]:
            signal.setitimer(signal.ITIMER_REAL, _LAST_S)
        events.put(StopAsked())

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, heed)
    signal.signal(signal.SIGINT, heed)


@contextmanager
def _failures_told() -> Iterator[None]:
    """What may end a run, as `BatchFailed`."""
    try:
        yield
    except InvalidModel as error:
        code = _OF_MODELS.get(error.code, "model_refused")
        raise BatchFailed(code, error.message, error.hint, reason=error.code) from error
    except DatasetInvalid as error:
        more = {"line": error.line, "column": error.column}
        raise BatchFailed("dataset_invalid", error.message, error.hint, **more) from error
    except MemoryError as error:
        detail = "the memory of the run does not suffice for a chunk"
        raise BatchFailed("out_of_memory", detail, "raise its limit, or ask for fewer chunk_rows") from error
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise BatchFailed("disk_full", f"a chunk cannot be written: {error.strerror}") from error
