"""What a watcher has heard is there until a look has seen to it."""

from contextlib import suppress

import pytest

from core.clock import now_micros
from core.errors import DatabaseBusy
from state.database import Database
from state.endings import cancel, lock_operation
from state.history import By
from state.jobtables import Run
from state.operations import unfinished
from state.signals import Signal
from tests.state.test_running import make_job, run_now, world
from tests.workers.platform import Platform
from workers.hearing import MOST_REMEMBERED, Heard


def changed(name: str, id: str) -> Signal:
    return Signal("changed", name, id)


def test_a_look_that_fails_forgets_nothing_and_one_that_does_not_all() -> None:
    heard = Heard("run", "dataset")
    assert heard.hears(changed("run", "run_1"))
    assert not heard.hears(changed("service", "svc_1"))
    with suppress(DatabaseBusy), heard.taken() as taken:
        assert taken == {"run": {"run_1"}, "dataset": set()}
        heard.hears(changed("run", "run_2"))
        raise DatabaseBusy("it is away")
    with heard.taken() as taken:
        assert taken["run"] == {"run_1", "run_2"}
    with heard.taken() as taken:
        assert taken["run"] == set()


def test_who_never_looks_does_not_remember_for_ever() -> None:
    heard = Heard("run")
    for number in range(MOST_REMEMBERED + 10):
        assert heard.hears(changed("run", f"run_{number}"))
    with heard.taken() as taken:
        assert len(taken["run"]) == MOST_REMEMBERED


async def test_a_run_that_is_canceled_in_the_queue_says_when_it_ended_though_nobody_hears_it(
    platform: Platform,
) -> None:
    database: Database = platform.database
    async with database.write() as session:
        await world(session)
        await make_job(session)
    run = await run_now(database)
    async with database.write() as session:
        (operation,) = await unfinished(session, run.id)
        await cancel(session, await lock_operation(session, operation), By("user:test"), "not needed")
    async with database.read() as session:
        ended = await session.get_one(Run, run.id)
    assert ended.status == "failed"
    assert ended.completed_at == pytest.approx(now_micros(), abs=60_000_000)
