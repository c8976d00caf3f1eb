"""Lines of a pipe: whole, in their order, and not before they are asked for."""

import asyncio
import gc
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from workers.lines import LineReader, LineTooLong

Test = Callable[[LineReader, int], Coroutine[Any, Any, None]]


async def on_a_pipe(test: Test) -> None:
    mine, other = os.pipe()
    reader = LineReader(mine, longest=1000)
    try:
        await test(reader, other)
    finally:
        reader.close()
        reader.close()


async def whole_lines(reader: LineReader, other: int) -> None:
    os.write(other, b"one\ntwo\nthr")
    assert [await reader.readline(), await reader.readline()] == [b"one\n", b"two\n"]
    waiting = asyncio.create_task(reader.readline())
    await asyncio.sleep(0.01)
    os.write(other, b"ee\nrest")
    assert await waiting == b"three\n"
    os.close(other)
    assert [await reader.readline(), await reader.readline()] == [b"rest", b""]


async def a_reader_that_gives_up(reader: LineReader, other: int) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await reader.readline()
    os.write(other, b"later\n")
    assert await reader.readline() == b"later\n"
    os.close(other)


async def a_line_without_an_end(reader: LineReader, other: int) -> None:
    os.write(other, b"x" * 2000)
    with pytest.raises(LineTooLong, match="1000 bytes"):
        await reader.readline()
    os.close(other)


async def a_pipe_whose_other_end_stays_open(reader: LineReader, other: int) -> None:
    waiting = asyncio.create_task(reader.readline())
    await asyncio.sleep(0)
    os.write(other, b"one\ntwo\nrest")
    reader.end_when_empty()
    assert [await waiting, await reader.readline()] == [b"one\n", b"two\n"]
    assert [await reader.readline(), await reader.readline()] == [b"rest", b""]
    os.close(other)


TESTS = (whole_lines, a_reader_that_gives_up, a_line_without_an_end, a_pipe_whose_other_end_stays_open)


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("test", TESTS)
def test_lines_come_on_both_loops(runner: Callable[[Any], None], test: Test) -> None:
    runner(on_a_pipe(test))


def pipes() -> int:
    """How many ends of pipes are open; what else there is belongs to threads of earlier tests, and may go any time."""
    gc.collect()
    return sum(1 for entry in Path("/proc/self/fd").iterdir() if _is_pipe(entry))


def _is_pipe(entry: Path) -> bool:
    try:
        return entry.is_fifo()
    except OSError:
        return False  # the one by which the folder was read


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="counts descriptors where Linux shows them")  # noqa: PTH110
def test_a_reader_gives_back_its_own_descriptor_and_no_other() -> None:
    async def many() -> None:
        for _ in range(50):
            await on_a_pipe(whole_lines)
            # What a second close of the same number would hit.
            held = os.open(os.devnull, os.O_RDONLY)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            os.close(held)

    before = pipes()
    uvloop.run(many())
    assert pipes() == before
