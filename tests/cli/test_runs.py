"""How a run reads on a sheet."""

from typing import Any

import pytest

from cli.output import Output
from cli.runs import tell_run

RUN: dict[str, Any] = {
    "job": "broken", "number": 1, "name": None, "status": "failed", "reason": "script_failed",
    "message": "ended with exit code 1", "progress": {"rows": 0, "rows_total": None},
    "output": None, "rows_in": 0, "rows_out": 0, "bad": 0,
    "bad_rows": None, "model": None, "version": None, "spec": {}, "input": None, "duration_s": 1.0, "retries": 0,
    "error": {"detail": "ended with exit code 1"}, "trigger": "manual", "created_at": "2026-01-01T00:00:00Z",
    "urls": {"self": "http://localhost/"},
}  # fmt: skip


def test_why_a_run_failed_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    tell_run(RUN, Output())
    told = capsys.readouterr().out
    assert "status    failed (script_failed)\n" in told
    assert told.count("exit code 1") == 1


def test_a_run_without_an_error_says_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    tell_run({**RUN, "status": "stopped", "error": None, "reason": "stopped", "message": "by anna"}, Output())
    assert "stopped (stopped: by anna)" in capsys.readouterr().out
