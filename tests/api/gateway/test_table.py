"""The routing table while it is read again: what happens meanwhile is not forgotten."""

import pytest

from api.gateway.table import RoutingTable
from state.database import Database
from state.migrate import DEFAULT_TENANT
from tests.api.gateway.test_gateway import make_replica, make_service, until
from tests.api.held import Held


async def test_a_replica_that_breaks_while_the_table_is_read_stays_left_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.gateway.table.DROPPED_S", 60.0)  # a figure, not a function
    await make_replica(database, await make_service(database, ["deploy", "ready"]), "unix:///nowhere")
    held = Held(database)
    table = RoutingTable(held, signalled=True, on_change=lambda addresses: None, token_of=lambda id: id)
    await table.start()
    try:
        route = table.route(DEFAULT_TENANT, "iris")
        assert route is not None
        held.hold()
        await make_service(database, [], "other")
        await held.began.wait()
        table.drop(route.backends[0])
        held.goes_on.set()
        await until(lambda: table.knows("other"))
        assert route.backends[0].dropped
    finally:
        await table.stop()
