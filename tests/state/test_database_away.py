"""PostgreSQL is killed, paused, stopped: whoever asks is told in time, no connection is lost, and all goes on after."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from core.errors import DatabaseBusy
from deploy.stack.postgres import PostgresServer
from state.database import Database, open_database
from state.direct import direct_write
from state.queries.lanes import ping

PATIENCE_S = 0.5
SEVERAL = 12  # more than the pool has connections


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = PostgresServer.start(tmp_path_factory.mktemp("postgres"), durable=False)
    yield server
    server.stop()


@contextmanager
def killed(server: PostgresServer) -> Iterator[None]:
    """It is dead for the length of the block, and there again for whoever comes next."""
    server.kill()
    try:
        yield
    finally:
        server.restart()


@pytest.fixture
async def database(server: PostgresServer) -> AsyncIterator[Database]:
    database = open_database(server.url, pool_size=4)
    yield database
    await database.close()


@pytest.fixture
async def hasty(server: PostgresServer) -> AsyncIterator[Database]:
    """For what is given up in the end; on a busy machine it may give up an answer that would have come, too."""
    database = open_database(server.url, pool_size=4, statement_s=PATIENCE_S)
    yield database
    await database.close()


async def asked(database: Database) -> str:
    """What one who asks is told."""
    try:
        async with database.read() as session:
            await ping(session)
    except DatabaseBusy:
        return "busy"
    return "fine"


async def many_asked(database: Database) -> set[str]:
    return set(await asyncio.gather(*(asked(database) for _ in range(SEVERAL))))


async def until_all_are_answered(database: Database) -> None:
    async with asyncio.timeout(60):
        while await many_asked(database) != {"fine"}:
            pass


async def test_a_killed_server_is_busy_until_it_is_back(server: PostgresServer, database: Database) -> None:
    assert await many_asked(database) == {"fine"}
    with killed(server):
        assert await many_asked(database) == {"busy"}
    assert await many_asked(database) == {"fine"}
    assert [pool.in_use for pool in database.pools()] == [0]


async def test_a_transaction_that_a_kill_interrupts_is_busy_and_leaves_nothing(
    server: PostgresServer, database: Database
) -> None:
    server.execute("CREATE TABLE marks (id int)", "portside")

    async def interrupted() -> None:
        async with database.write() as session:
            await session.execute(text("INSERT INTO marks VALUES (1)"))
            await asyncio.to_thread(server.kill)

    try:
        with pytest.raises(DatabaseBusy):
            await interrupted()
    finally:
        server.restart()
    async with database.read() as session:
        assert await session.scalar(text("SELECT count(*) FROM marks")) == 0
    assert [pool.in_use for pool in database.pools()] == [0]


async def test_a_paused_server_is_busy_within_a_bound_and_loses_no_connection(
    server: PostgresServer, hasty: Database
) -> None:
    await until_all_are_answered(hasty)
    server.pause()
    try:
        async with asyncio.timeout(60):
            assert await many_asked(hasty) == {"busy"}
    finally:
        server.resume()
    await until_all_are_answered(hasty)
    assert [pool.in_use for pool in hasty.pools()] == [0]


async def test_a_statement_without_an_end_is_given_up(hasty: Database) -> None:
    with pytest.raises(DatabaseBusy):
        async with hasty.read() as session:
            await session.execute(text("SELECT pg_sleep(60)"))
    await until_all_are_answered(hasty)


async def test_a_transaction_that_its_process_leaves_open_ends_and_its_locks_with_it(
    server: PostgresServer, database: Database, hasty: Database
) -> None:
    server.execute("CREATE TABLE held (id int)", "portside")
    stopped = open_database(server.url, pool_size=1, statement_s=0.3)

    async def left_open() -> None:
        async with stopped.write() as session:
            await session.execute(text("LOCK TABLE held"))
            async with asyncio.timeout(10):
                while await asked_for_locks(database):
                    await asyncio.sleep(0.02)
            await session.execute(text("INSERT INTO held VALUES (1)"))

    with pytest.raises(DatabaseBusy):
        await left_open()
    assert await asked(stopped) == "fine"
    await stopped.close()
    async with hasty.read() as session:
        assert await session.scalar(text("SHOW tcp_keepalives_idle")) in ("30", "0")  # a socket of the machine has none
        assert await session.scalar(text("SHOW statement_timeout")) == "3s"


async def asked_for_locks(database: Database) -> int:
    async with database.read() as session:
        held = "SELECT count(*) FROM pg_locks WHERE relation = 'held'::regclass AND mode = 'AccessExclusiveLock'"
        return int(await session.scalar(text(held)) or 0)


async def test_a_server_that_another_one_takes_over_from_is_busy(server: PostgresServer) -> None:
    server.execute("CREATE DATABASE standby", "portside")
    server.execute("ALTER DATABASE standby SET default_transaction_read_only = on", "portside")
    database = open_database(server.url_of("standby"), pool_size=1)
    with pytest.raises(DatabaseBusy, match="read-only"):
        async with database.write() as session:
            await session.execute(text("CREATE TABLE marks (id int)"))
    await database.close()


async def test_a_connection_that_the_server_has_cut_is_busy_for_the_direct_way_too(
    server: PostgresServer, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was used a moment ago is not asked before its next use: the driver itself says that it is closed."""
    monkeypatch.setattr("state.database.TRUSTED_S", 60.0)  # a figure, not a function: the cut takes psql a moment
    async with direct_write(database):
        pass
    cut = "SELECT count(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity WHERE datname = 'portside'"
    assert server.execute(cut) != "0"
    with pytest.raises(DatabaseBusy):
        async with direct_write(database):
            pass
    async with direct_write(database):
        pass
