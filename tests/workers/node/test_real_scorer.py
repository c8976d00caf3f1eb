"""Runs with the product's own scorer: what it writes, and that it is the same however often it was killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings
from tests.crash.runsites import FLOWERS, flowers
from tests.workers.node.runworld import FINAL, RunWorld, open_run_world
from workers.node.runprogram import batch_scorer

ROWS = 4000


@pytest.fixture(scope="module")
def signature(repository_root: Path) -> Mapping[str, Any]:
    """What the inspection finds."""
    command = [sys.executable, "-m", "serving", "inspect", str(repository_root / "examples" / "iris.onnx")]
    found: Mapping[str, Any] = json.loads(subprocess.check_output(command, cwd=repository_root))
    return found


async def begin(runs: RunWorld, root: Path, signature: Mapping[str, Any], **spec: Any) -> Any:
    content = (root / "examples" / "iris.onnx").read_bytes()
    await runs.ground.version(content, signature=signature)
    await runs.ground.dataset(flowers(ROWS, bad=1234), layout=FLOWERS)
    return await runs.ground.job("flowers", pass_through="*", chunk_rows=200, **spec)


async def test_a_run_of_the_real_scorer_is_the_same_however_often_it_was_killed(
    data: Path, repository_root: Path, signature: Mapping[str, Any]
) -> None:
    async with open_run_world(data, command=batch_scorer(Settings(data=data))) as runs:
        job = await begin(runs, repository_root, signature)
        calm = await runs.until(await runs.ground.run(job), *FINAL)
        assert calm.status == "succeeded", calm.error
        assert calm.summary is not None
        assert (calm.summary["rows_in"], calm.summary["rows_out"], calm.summary["bad"]) == (ROWS, ROWS - 1, 1)
        expected, bad = await runs.ground.output(calm), await runs.ground.output(calm, "bad_rows")
        assert expected is not None
        assert expected.count(b"\n") == ROWS
        assert json.loads(bad or b"")["line"] == 1236
        troubled = await runs.ground.run(job)
        await runs.chunks(troubled, least=1)
        pid = await runs.running(troubled)
        os.kill(pid, signal.SIGKILL)
        await runs.until(troubled, *FINAL)
        assert await runs.ground.output(troubled) == expected
        assert await runs.ground.output(troubled, "bad_rows") == bad
