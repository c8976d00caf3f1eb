"""Elections, and loops that survive what happens to them."""

import logging

import pytest

from core.errors import DatabaseBusy
from tests.workers.platform import Platform, wait_for
from workers.caretakers import Caretaker, Caretakers


async def test_only_the_elected_one_of_two_processes_looks(platform: Platform) -> None:
    looks: list[str] = []

    def caretakers(owner: str) -> Caretakers:
        async def look() -> None:
            looks.append(owner)

        return Caretakers(platform.database, [Caretaker("watcher", 0.01, look)], owner, 0.3)

    first, second = caretakers("first"), caretakers("second")
    first.start()
    await wait_for(lambda: bool(looks))
    second.start()
    await wait_for(lambda: len(looks) > 20)
    assert set(looks) == {"first"}
    await first.stop()
    await wait_for(lambda: "second" in looks)
    await second.stop()


async def test_a_look_that_fails_is_logged_once_and_the_loop_goes_on(
    platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[Exception] = []

    async def look() -> None:
        looks.append(DatabaseBusy("away") if len(looks) == 1 else ZeroDivisionError("a bug"))
        raise looks[-1]

    caretakers = Caretakers(platform.database, [Caretaker("watcher", 0.001, look)], "me", 10.0)
    with caplog.at_level(logging.WARNING):
        caretakers.start()
        await wait_for(lambda: len(looks) >= 4)
        await caretakers.stop()
    assert [record.getMessage() for record in caplog.records].count("watcher failed and goes on") == 1
