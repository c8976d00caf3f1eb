"""What one process commits, the others hear; over PostgreSQL's LISTEN/NOTIFY."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import text

from deploy.stack.postgres import PostgresServer
from state.database import Database, open_database
from state.notices import MOST_BYTES, Notices, payloads, signals_of
from state.signals import Signal
from tests.state.conftest import NUMBERS, TEMPLATE

CHANGED = Signal("changed", "operation", "op_1")


@dataclass
class Peer:
    """One process: its database, its notices, and what its listeners were told."""

    database: Database
    notices: Notices
    heard: list[Signal] = field(default_factory=list)

    async def commit(self, *signals: Signal) -> None:
        """A transaction that tells these."""
        async with self.database.write() as session:
            for signal in signals:
                session.tell(signal.kind, signal.name, signal.id)


@asynccontextmanager
async def open_peer(url: str) -> AsyncIterator[Peer]:
    """A process that listens."""
    database = open_database(url)
    peer = Peer(database, Notices(database, url))
    await peer.notices.start()
    try:
        await until(lambda: peer.notices.is_listening)
        database.subscribe(peer.heard.extend)
        yield peer
    finally:
        await peer.notices.stop()
        await database.close()


async def until(holds: Callable[[], bool]) -> None:
    """Wait on a condition, with a deadline."""
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.005)


@pytest.fixture
async def url(postgresql: PostgresServer) -> str:
    """A PostgreSQL database of the test's own."""
    return await asyncio.to_thread(postgresql.create_database, f"notices_{next(NUMBERS)}", template=TEMPLATE)


async def test_a_commit_in_one_process_is_heard_in_the_others_once(url: str) -> None:
    async with open_peer(url) as one, open_peer(url) as two, open_peer(url) as three:
        await one.commit(CHANGED)
        await until(lambda: bool(two.heard and three.heard))
        await two.commit(Signal("routing"))
        await until(lambda: Signal("routing") in one.heard and Signal("routing") in three.heard)
        assert one.heard == [CHANGED, Signal("routing")]  # its own at once, and not again as an echo
        assert two.heard == [CHANGED, Signal("routing")]
        assert three.heard == [CHANGED, Signal("routing")]


async def test_due_work_travels_by_the_broker_alone(url: str) -> None:
    async with open_peer(url) as one, open_peer(url) as two:
        await one.commit(Signal("work", "control", "op_1"), Signal("later", "control", "op_2"))
        await one.commit(CHANGED)
        await until(lambda: bool(two.heard))
        assert two.heard == [CHANGED]


async def test_what_is_rolled_back_is_not_heard(url: str) -> None:
    async with open_peer(url) as one, open_peer(url) as two:
        with suppress(RuntimeError):
            async with one.database.write() as session:
                session.tell("changed", "operation", "op_0")
                raise RuntimeError
        await one.commit(CHANGED)
        await until(lambda: bool(two.heard))
        assert two.heard == [CHANGED]


async def test_a_large_commit_is_heard_in_pieces(url: str) -> None:
    signals = {Signal("changed", "prediction", f"prd_{number:026}") for number in range(1_000)}
    async with open_peer(url) as one, open_peer(url) as two:
        await one.commit(*signals)
        await until(lambda: len(two.heard) == len(signals))
        assert set(two.heard) == signals


async def test_a_burst_of_commits_is_heard_in_few_notices(url: str) -> None:
    async with open_peer(url) as one, open_peer(url) as two:
        notices = 0

        def count(signals: frozenset[Signal]) -> None:
            nonlocal notices
            notices += 1

        two.database.subscribe(count)
        for number in range(200):
            one.database.publish(frozenset({Signal("changed", "operation", f"op_{number}")}))
        await until(lambda: len(two.heard) == 200)
        assert notices <= 3


async def test_a_process_that_was_cut_off_listens_again_and_looks_at_everything(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_peer(url) as one, open_peer(url) as two:
        async with one.database.read() as session:
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'portside notices'"
            await session.execute(text(cut))
        # Told to look at everything, each has come back: until then it may not know that it is cut off.
        await until(lambda: bool(one.heard and two.heard))
        assert one.notices.is_listening
        assert two.notices.is_listening
        assert set(two.heard) == {Signal("routing"), Signal("placement")}
        await one.commit(CHANGED)
        await until(lambda: CHANGED in two.heard)
    assert caplog.text.count("are not heard") <= 2  # one line for each of the two
    assert "Traceback" not in caplog.text


async def test_a_server_that_is_away_is_waited_for_in_the_background(caplog: pytest.LogCaptureFixture) -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    database = open_database(url)
    notices = Notices(database, url)
    await notices.start()
    try:
        await until(lambda: "are not heard" in caplog.text)
        assert not notices.is_listening
    finally:
        await notices.stop()
        await database.close()


async def test_on_sqlite_there_is_nobody_to_tell(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    database = open_database(url)
    notices = Notices(database, url)
    await notices.start()
    assert not notices.is_listening
    await notices.stop()
    await database.close()


def test_a_notice_is_within_its_size_and_reads_as_it_was_written() -> None:
    signals = {Signal("changed", "operation", f"op_{number}") for number in range(2_000)} | {Signal("routing")}
    written = list(payloads(signals))
    assert len(written) > 1
    assert all(len(payload.encode()) <= MOST_BYTES for payload in written)
    assert {signal for payload in written for signal in signals_of(payload)} == signals


def test_what_another_release_says_beside_what_we_know_is_passed_over() -> None:
    assert list(signals_of("quota x y z\nchanged operation op_1\nwork control op_2\n\nsomething")) == [CHANGED]
