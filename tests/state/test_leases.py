"""Elections by lease: one holder of a name, a new epoch with each change of hands."""

import math

from state.database import Database
from state.leases import elect, forget_all, holder, others_end_in, resign, still_holds

LONG = 60_000_000
NAMES = ["rescuer", "sweeper"]


async def test_one_of_two_is_elected_and_keeps_the_lease(database: Database) -> None:
    async with database.write() as session:
        assert await elect(session, NAMES, "a", LONG) == {"rescuer": 1, "sweeper": 1}
    async with database.write() as session:
        assert await elect(session, NAMES, "b", LONG) == {}
        assert await elect(session, NAMES, "a", LONG) == {"rescuer": 1, "sweeper": 1}


async def test_a_lease_that_ran_out_changes_hands_with_a_new_epoch(database: Database) -> None:
    async with database.write() as session:
        await elect(session, NAMES, "a", -1000)
        assert await elect(session, ["rescuer"], "b", LONG) == {"rescuer": 2}
        assert await elect(session, NAMES, "a", LONG) == {"sweeper": 1}


async def test_who_stands_by_learns_when_the_first_lease_of_others_ends(database: Database) -> None:
    async with database.write() as session:
        await elect(session, ["sweeper"], "b", LONG)
        await elect(session, ["rescuer"], "a", LONG // 2)
        assert 15 < await others_end_in(session, NAMES, "b") <= 30  # not the 60 s of its own
        assert await others_end_in(session, ["sweeper"], "b") == math.inf


async def test_who_resigns_or_is_forgotten_is_replaced_at_once(database: Database) -> None:
    async with database.write() as session:
        await elect(session, NAMES, "a", LONG)
        await resign(session, "a")
        assert await elect(session, NAMES, "b", LONG) == {"rescuer": 2, "sweeper": 2}
        await forget_all(session)
        assert await elect(session, NAMES, "c", LONG) == {"rescuer": 3, "sweeper": 3}


async def test_a_holder_knows_when_somebody_else_was_elected_meanwhile(database: Database) -> None:
    async with database.write() as session:
        await elect(session, ["rescuer"], "a", -1000)
        assert await still_holds(session, "rescuer", "a", 1)  # it ran out, and nobody has taken it
        await elect(session, ["rescuer"], "b", -1000)
        assert not await still_holds(session, "rescuer", "a", 1)
        assert await elect(session, ["rescuer"], "a", LONG) == {"rescuer": 3}
        assert not await still_holds(session, "rescuer", "a", 1)  # a new term, to which the old one's work is strange
        assert await holder(session, "rescuer") == "a"
        assert await holder(session, "nobody") is None
