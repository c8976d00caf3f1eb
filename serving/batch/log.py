"""The log of a run, for people: a line with its time when it begins, at each tenth of its way, and of how it ended."""

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TextIO

from serving.batch.plan import BatchFailed, Plan, Resume
from serving.data.formats import BadRow

_UNKNOWN_EVERY_S = 60.0  # where nobody knows how long the way is


class RunLog:
    """Writes lines. Trouble with them never troubles the run."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._began = time.monotonic()
        self._rows_before = 0
        self._total: int | None = None
        self._tenths, self._next_at = 0, 0.0

    def begun(self, plan: Plan, resume: Resume, total: int | None, chunk_rows: int) -> None:
        """The model is loaded and the input open."""
        self._rows_before, self._total = resume.rows_in, total
        self._began = time.monotonic()
        self._tenths, self._next_at = self._tenth(resume.rows_in), self._began + _UNKNOWN_EVERY_S
        version = plan.version
        named = f"{version.model} {version.version}" + (f", part {version.part}" if version.part else "")
        rows = "nobody has counted the rows" if total is None else f"{total:,} rows"
        self._say(f"began: model {named}; {rows}, {chunk_rows:,} in a chunk, {plan.parallelism} at a time")
        if resume.rows_in:
            self._say(f"goes on behind row {resume.rows_in:,}, as the platform has kept those before")

    def at(self, rows: int, bad: int, first_bad: Sequence[BadRow]) -> None:
        """So many rows are reported in all, and these of the bad ones are new to the reader of the log."""
        for each in first_bad:
            self._say(f"bad row: {told_bad(each)}")
        now, tenth = time.monotonic(), self._tenth(rows)
        if tenth <= self._tenths and (self._total is not None or now < self._next_at):
            return
        self._tenths, self._next_at = tenth, now + _UNKNOWN_EVERY_S
        rate = (rows - self._rows_before) / max(now - self._began, 1e-3)
        of = "" if self._total is None else f"{min(100, 10 * tenth)} %: "
        whole = "" if self._total is None else f" of {self._total:,}"
        self._say(f"{of}{rows:,}{whole} rows, {bad:,} bad, {rate:,.0f} rows/s")

    def ended(self, rows_in: int, rows_out: int, bad: int) -> None:
        """All is done and kept."""
        self._say(f"ended: {rows_in:,} rows, {rows_out:,} scored, {bad:,} bad, {self._took()}")

    def paused(self) -> None:
        """It was told to end."""
        self._say(f"told to end, after {self._took()}; what the platform has kept need not be done again")

    def failed(self, error: BatchFailed) -> None:
        """It cannot go on."""
        self._say(f"failed ({error.code}): {error.detail}" + (f"; {error.hint}" if error.hint else ""))

    def _tenth(self, rows: int) -> int:
        return 0 if not self._total else 10 * rows // self._total

    def _took(self) -> str:
        return f"{time.monotonic() - self._began:.1f} s"

    def _say(self, text: str) -> None:
        """One line, whatever stands in the names and cells that it tells of."""
        plain = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
        with suppress(OSError, ValueError):
            self._out.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {plain}\n")
            self._out.flush()


def told_bad(bad: BadRow) -> str:
    """Where a bad row is, and why it is one."""
    where = f"line {bad.line}" if bad.line is not None else f"row {bad.row}"
    return f"{where}{f', {bad.column}' if bad.column else ''}: {bad.reason}"
