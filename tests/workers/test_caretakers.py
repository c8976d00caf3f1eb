"""Elections, and loops that survive what happens to them."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from core.errors import DatabaseBusy
from tests.workers.platform import Platform, wait_for
from workers.caretakers import Caretaker, Caretakers


@asynccontextmanager
async def caring(platform: Platform, caretaker: Caretaker, owner: str, lease_s: float) -> AsyncIterator[None]:
    """A process that stands for election, until the block ends."""
    caretakers = Caretakers(platform.database, [caretaker], owner, lease_s)
    caretakers.start()
    try:
        yield
    finally:
        await caretakers.stop()


async def test_only_the_elected_one_of_two_processes_looks(platform: Platform) -> None:
    looks: list[str] = []

    def looking(owner: str) -> Caretaker:
        async def look() -> None:
            looks.append(owner)

        return Caretaker("watcher", 0.01, look)

    async with AsyncExitStack() as outliving:
        async with caring(platform, looking("first"), "first", 60.0):
            await wait_for(lambda: bool(looks))
            # It stands thrice in its own lease; the first one loses nothing, however long it stands still.
            await outliving.enter_async_context(caring(platform, looking("second"), "second", 0.3))
            await wait_for(lambda: len(looks) > 20)
            assert set(looks) == {"first"}
        await wait_for(lambda: "second" in looks)


async def test_a_look_that_fails_is_logged_once_and_the_loop_goes_on(
    platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[Exception] = []

    async def look() -> None:
        looks.append(DatabaseBusy("away") if len(looks) == 1 else ZeroDivisionError("a bug"))
        raise looks[-1]

    with caplog.at_level(logging.WARNING):
        async with caring(platform, Caretaker("watcher", 0.001, look), "me", 10.0):
            await wait_for(lambda: len(looks) >= 4)
    assert [record.getMessage() for record in caplog.records].count("watcher failed and goes on") == 1
