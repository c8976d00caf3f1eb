"""One Dramatiq actor per lane: plain functions that hand their coroutine to the process' event loop and wait.

The payload is the lane and a row's id as a hint; the executor claims the best due row of the lane, whichever that is.
"""

import asyncio
import concurrent.futures
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import dramatiq

log = logging.getLogger(__name__)

Look = Callable[[str], Coroutine[Any, Any, bool]]
Began = Callable[[str, str], None]
Wake = Callable[[str, str], None]


def declare_actor(
    broker: dramatiq.Broker, lane: str, look: Look, began: Began, limit_s: float | None
) -> dramatiq.Actor[[str, str], None]:
    """The actor that drains `lane` by calling `look` on the running loop until nothing is due.

    `began` hears of each wake-up before the first look. One look that takes `limit_s` is given up: its own, shorter
    time limit must have ended it.
    """
    loop = asyncio.get_running_loop()

    def work(lane: str, hint: str) -> None:
        began(lane, hint)
        while not loop.is_closed() and _look_once(loop, look(lane), limit_s):
            pass

    return dramatiq.actor(broker=broker, actor_name=f"work_{lane}", queue_name=lane)(work)


def declare_wakes(broker: dramatiq.Broker, lanes: Iterable[str], wake: Wake) -> Wake:
    """The actors that carry wake-ups between processes; answers how to send one, which may block.

    Where a worker consumes them `wake` gets the lane and the hint, in a thread.
    """
    actors = {lane: dramatiq.actor(broker=broker, actor_name=f"wake_{lane}", queue_name=lane)(wake) for lane in lanes}

    def send(lane: str, hint: str) -> None:
        if actor := actors.get(lane):
            actor.send(lane, hint)

    return send


def _look_once(loop: asyncio.AbstractEventLoop, looking: Coroutine[Any, Any, bool], limit_s: float | None) -> bool:
    future = asyncio.run_coroutine_threadsafe(looking, loop)
    try:
        return future.result(limit_s)
    except concurrent.futures.CancelledError:
        return False
    except TimeoutError:
        log.warning("a look at work took more than %s s and is given up", limit_s)
        future.cancel()
        return False
