"""How far a run is, as `run_processes.progress` tells it: rows, their rate, what is left, the seconds of each stage."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from core.errors import Json
from workers.node.runreports import ChunkDone, Started
from workers.node.usage import used_by

TELL_EVERY_S = 1.0
MOST_COLUMNS = 10_000  # of a dataset that are told; more say only how many they are


class ProgressTeller:
    """Sums up what one process reports, on top of what its predecessors had told."""

    def __init__(self, before: Mapping[str, Json], now: Callable[[], float] = time.monotonic) -> None:
        self._told: dict[str, Any] = {"rows": 0, **before, "rows_per_s": None, "eta_s": None, "detail": None}
        self._cpu_s_before = float(self._told.get("cpu_s") or 0.0)
        self._now, self._began, self._first_row, self._rows_kept = now, now(), 0, 0
        self._next_at = 0.0
        self._pid: int | None = None

    def resumed(self, rows_kept: int) -> int | None:
        """So many rows are in the ledger; answers how many a chunk had, where a process has told that."""
        self._told["rows"] = self._first_row = self._rows_kept = rows_kept
        return self._told.get("chunk_rows")

    def named(self, pid: int) -> None:
        """Which process it is whose use of the machine is told."""
        self._pid = pid

    def begun(self, report: Started) -> None:
        """The input is open: the rate counts from now."""
        self._began = self._now()
        self._told["columns"] = list(report.columns)
        if report.rows is not None:
            self._told["rows_total"] = report.rows
        if report.chunk_rows is not None:
            self._told["chunk_rows"] = report.chunk_rows

    def scored(self, rows: int) -> bool:
        """So many rows in all; answers whether it is time to tell."""
        self._told["rows"] = max(rows, int(self._told["rows"]))
        return self._now() >= self._next_at

    def after(self, report: ChunkDone) -> dict[str, Json]:
        """What is to be told together with this chunk."""
        self.scored(report.first_row + report.rows_in)
        return {**self.document(), "seconds": self._seconds(report)}

    def kept(self, report: ChunkDone) -> None:
        """The chunk is in the ledger."""
        self._told["seconds"] = self._seconds(report)
        self._rows_kept = max(self._rows_kept, report.first_row + report.rows_in)

    def row_s(self) -> float | None:
        """How long the model took for a row, on average over what is in the ledger; nothing before the first chunk."""
        score_s = (self._told.get("seconds") or {}).get("score")
        return None if score_s is None or not self._rows_kept else score_s / self._rows_kept

    def _seconds(self, report: ChunkDone) -> dict[str, float]:
        before: Mapping[str, float] = self._told.get("seconds") or {}
        added = {stage: round(before.get(stage, 0.0) + took_s, 3) for stage, took_s in report.seconds.items()}
        return {**before, **added}

    def document(self) -> dict[str, Json]:
        """What is to be told now."""
        now, rows, total = self._now(), int(self._told["rows"]), self._told.get("rows_total")
        self._next_at = now + TELL_EVERY_S
        elapsed_s = now - self._began
        if rows > self._first_row and elapsed_s > 0:
            rate = (rows - self._first_row) / elapsed_s
            self._told["rows_per_s"] = round(rate, 1)
            self._told["eta_s"] = None if total is None else round(max(0, total - rows) / rate, 1)
        if total is not None:
            self._told["percent"] = round(min(100.0, 100 * rows / total), 1) if total else 100.0
        return dict(self._told)

    async def measure(self) -> None:
        """Look what the process has used: beside the event loop, for elsewhere a program is asked."""
        used = None if self._pid is None else await asyncio.to_thread(used_by, self._pid)
        if used is not None:
            self._told["cpu_s"] = round(self._cpu_s_before + used.cpu_s, 2)
            self._told["memory_bytes"] = max(used.memory_bytes, int(self._told.get("memory_bytes") or 0))
