"""A process that lives and gets nowhere: another one goes on, until that is hopeless; a slow one is left alone."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.workers.node.runworld import FINAL, open_run_world
from tests.workers.runrows import numbers
from workers.node.runprogress import ProgressTeller
from workers.node.runreports import ChunkDone
from workers.node.runwatch import Patience, ProgressWatch, RunStalled

ROWS = 400  # four chunks


async def test_a_process_that_hangs_is_replaced_and_no_row_comes_twice(data: Path) -> None:
    async with open_run_world(data, run_stall_s=1.0) as runs:
        run = await runs.begin(numbers(ROWS), variables={"PAUSE_MS": "100"})
        await runs.chunks(run, least=1)
        os.kill(await runs.running(run), signal.SIGSTOP)
        ended = await runs.until(run, *FINAL)
        assert (ended.status, ended.error) == ("succeeded", None)
        assert ended.summary is not None
        assert ended.summary["rows_in"] == ROWS


async def test_a_run_whose_processes_get_nowhere_fails_and_says_so(data: Path) -> None:
    async with open_run_world(data, run_stall_s=0.3) as runs:
        run = await runs.begin(numbers(ROWS), variables={"MODE": "deaf"})
        ended = await runs.until(run, *FINAL)
        assert (ended.status, ended.reason) == ("failed", "run_stalled")
        assert "3 processes of the run got nowhere" in str(ended.message)
        assert "hardly computed for 0.3 s (PORTSIDE_RUN_STALL_S)" in str(ended.message)


async def test_a_process_that_computes_may_be_silent_for_longer(data: Path) -> None:
    async with open_run_world(data, run_stall_s=0.4) as runs:
        # Not much longer: another process on its core makes it as many times slower, and 24 times is too long.
        run = await runs.begin(numbers(200), variables={"BUSY_MS": "450"})
        pid = await runs.running(run)
        await runs.chunks(run, least=1)
        assert await runs.running(run) == pid
        assert (await runs.until(run, *FINAL)).status == "succeeded"


async def test_nobody_computes_in_silence_for_ever() -> None:
    async def never() -> bytes:
        await asyncio.Event().wait()
        return b""

    with pytest.raises(RunStalled, match="24 times that is allowed"):
        await ProgressWatch(os.getpid(), Patience(idle_s=1, busy_s=0.2)).unless_stalled(never)


@pytest.mark.parametrize(("row_s", "told"), [(1e-9, "took 1e-09 s for a row before"), (0.01, "hardly|24 times")])
async def test_a_model_that_was_fast_may_not_compute_for_hours_as_a_slow_one_may(row_s: float, told: str) -> None:
    async def never() -> bytes:
        await asyncio.Event().wait()
        return b""

    with pytest.raises(RunStalled, match=told):
        await ProgressWatch(os.getpid(), Patience(idle_s=0.2, busy_s=0.4), lambda: row_s).unless_stalled(never)


def test_what_a_row_takes_is_known_from_the_first_chunk_on_and_by_the_next_process() -> None:
    def chunk(ordinal: int) -> ChunkDone:
        return ChunkDone(ordinal, 100 * ordinal, 100, 100, 0, "a", None, {}, {"read": 9.0, "score": 2.0})

    teller = ProgressTeller({})
    assert teller.row_s() is None
    teller.resumed(0)
    teller.kept(chunk(0))
    teller.kept(chunk(1))
    assert teller.row_s() == pytest.approx(0.02)
    following = ProgressTeller(teller.document())
    following.resumed(200)
    assert following.row_s() == pytest.approx(0.02)
