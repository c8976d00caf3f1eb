"""What the tasks of a test wait for that was ended because it took too long: the stacks of threads do not tell."""

import asyncio
from collections.abc import Iterator
from types import FrameType
from typing import Any


def waiting_lines(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    """A line for each task that is not done, and one for each coroutine that it is in, the innermost last."""
    for task in asyncio.all_tasks(loop):
        yield f"{task.get_name()}:"
        awaited: Any = task.get_coro()
        while awaited is not None:
            frame: FrameType | None = _first(awaited, "cr_frame", "gi_frame", "ag_frame")
            where = "" if frame is None else f" at {frame.f_code.co_filename}:{frame.f_lineno}"
            yield f"  {getattr(awaited, '__qualname__', awaited)}{where}"
            awaited = _first(awaited, "cr_await", "gi_yieldfrom", "ag_await")


def _first(thing: object, *names: str) -> Any:
    return next((found for name in names if (found := getattr(thing, name, None)) is not None), None)
