"""What must wait until the processes of an older release are gone, on both databases."""

import pytest
from sqlalchemy import update

from core.clock import now_micros
from state.database import Database
from state.installation import Process
from state.processes import ALIVE_MICROS, Presence, Self
from state.releases import UpgradeUnderWay, check_all_know


async def asked(database: Database) -> None:
    async with database.read() as session:
        await check_all_know(session, "0014", "deleting a model with its services")


async def test_what_an_older_process_does_not_know_waits_until_it_has_ended(database: Database) -> None:
    new, old = (Self(f"worker:{n}", "worker", "here", n, f"0.{n}", schema) for n, schema in enumerate(("0014", "0011")))
    processes = [Presence(database, one) for one in (new, old)]
    for one in processes:
        await one.start()
    with pytest.raises(UpgradeUnderWay, match=r"deleting a model .* process worker:1 is of an older release \(0\.1\)"):
        await asked(database)
    await processes[1].stop()
    await asked(database)
    await processes[0].stop()


async def test_a_process_that_died_holds_nothing_up_for_long(database: Database) -> None:
    dead = Presence(database, Self("worker:1", "worker", "here", 1, "0.1", "0011"))
    await dead.start()
    async with database.write() as session:
        await session.execute(update(Process).values(seen_at=now_micros() - ALIVE_MICROS - 1_000_000))
    await asked(database)
    await dead.stop()
