"""Durable predictions from their submission to their answer: what each costs, and where it is sent."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import pytest
from sqlalchemy import update

from core.clock import now_micros
from core.errors import InvalidField
from core.ids import new_id
from state.advance import advance, lock
from state.history import By, begin
from state.migrate import DEFAULT_TENANT
from state.observing import Mode, Timing
from state.predicting import Submission, submit_prediction
from state.queries.samples import service_figures
from state.tables import Prediction, Replica, Revision, Service, Version
from tests.workers.platform import WHO, Platform, wait_for
from workers.boot import owner_name
from workers.executor import Executor
from workers.handlers.predictions import predict
from workers.replica_client import Question
from workers.submitted import shown_input

TEST = By("test")
ANSWER = b'{"outputs": [1]}'
NONE: Mapping[str, bytes | None] = MappingProxyType({})
SILENCE, HANGING_UP = b"silence", b"hanging up"  # instead of an answer
CSV = {"content_type": "text/csv"}


class Counting:
    """Hears of every transaction."""

    def __init__(self) -> None:
        self.ended = Counter[Mode]()

    def transaction_ended(self, mode: Mode, timing: Timing) -> None:
        """Count it."""
        self.ended[mode] += 1


@asynccontextmanager
async def open_replica(
    asked: list[str], others: Mapping[str, bytes | None] = NONE, gate: asyncio.Event | None = None
) -> AsyncIterator[str]:
    """The address of something that answers as a model server does; `others`: at other paths, None: not at all.

    `asked` learns at which paths; nothing is answered before the `gate` is open. At its end it hangs up on whoever is
    there.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            asked.append(head.decode().split()[1])
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.split(b":")[1]))
            if gate is not None:
                await gate.wait()
            answer = others.get(head.split()[1].decode(), ANSWER)
            if answer == SILENCE:
                await reader.read(1)  # until who asked has gone
            if answer in (SILENCE, HANGING_UP):
                return
            status, body = (b"404 Not Found", b"{}") if answer is None else (b"200 OK", answer)
            writer.write(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))

    connections: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[writer] = asyncio.current_task()
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    with TemporaryDirectory() as folder:  # not the test's own: the path of a socket has 108 bytes at most
        server = await asyncio.start_unix_server(until_closed, f"{folder}/s")
        try:
            yield f"unix://{folder}/s"
        finally:
            if gate is not None:
                gate.set()
            server.close()
            for writer in connections:
                writer.close()
            await asyncio.gather(*(connection for connection in connections.values() if connection is not None))
            await server.wait_closed()


@asynccontextmanager
async def executing(platform: Platform) -> AsyncIterator[Executor]:
    """An executor without anything around it that would look into the database, too."""
    executor = Executor(platform.resources, {"predict": predict}, owner_name())
    try:
        yield executor
    finally:
        await executor.stop(5.0)


async def serve(platform: Platform, address: str) -> Service:
    """A running service with a ready replica at the address."""
    version, now = await platform.version(), now_micros()
    owned = {"tenant_id": DEFAULT_TENANT, "created_at": now}
    service = Service(id=new_id("svc"), updated_at=now, tags=[], name="iris", replicas=1, **owned)
    revision = Revision(
        id=new_id("rev"),
        service_id=service.id,
        number=1,
        model_id=version.model_id,
        version_id=version.id,
        resources={},
        env_names=[],
        **owned,
    )
    replica = Replica(
        id=new_id("rep"), service_id=service.id, revision_id=revision.id, generation=1, address=address, **owned
    )
    async with platform.database.write() as session:
        await begin(session, service, TEST)
        session.add(revision)
        for move in ("deploy", "ready"):
            await advance(session, service, move, TEST, live_revision_id=revision.id, revision_id=revision.id)
        await begin(session, replica, TEST)
        await advance(session, replica, "ready", TEST)
    return service


async def submit(platform: Platform, service: Service, **values: object) -> Prediction:
    asked = {"body": {"inputs": {"x": 1}}, "body_digest": None, **values}
    wanted = Submission(base_url="http://localhost", **asked)  # type: ignore[arg-type]  # named by the dataclass
    async with platform.database.write() as session:
        return await submit_prediction(session, WHO, service, wanted)


@pytest.fixture
def asked() -> list[str]:
    """The paths at which the replica was asked."""
    return []


@pytest.fixture
async def replica(asked: list[str]) -> AsyncIterator[str]:
    async with open_replica(asked) as address:
        yield address


@pytest.fixture
async def executor(platform: Platform, replica: str) -> AsyncIterator[Executor]:
    async with executing(platform) as executor:
        yield executor


async def test_a_prediction_takes_three_transactions(platform: Platform, replica: str, executor: Executor) -> None:
    service, counting = await serve(platform, replica), Counting()
    platform.database.observe(counting)
    prediction = await submit(platform, service)
    assert not await executor.work_next("predict")
    await wait_for(lambda: executor.free("predict") == executor.slots["predict"])
    assert counting.ended == {"write": 3}  # submitted, claimed, recorded
    ended = await platform.now(prediction)
    assert (ended.status, ended.output, ended.attempt) == ("succeeded", [1], 1)
    assert await platform.moves(prediction) == ["create", "start", "succeed"]


async def test_a_prediction_of_a_part_asks_that_part_of_the_replica(
    platform: Platform, executor: Executor, replica: str, asked: list[str]
) -> None:
    service = await serve(platform, replica)
    parts = {"format": "onnx", "parts": [{"key": "de"}, {"key": "fr"}]}
    async with platform.database.write() as session:
        await session.execute(update(Version).values(signature=parts))
    for part in (None, "fr"):
        prediction = await submit(platform, service, part=part)
        await executor.work_next("predict")
        await platform.until(prediction, "succeeded")
        assert (await platform.now(prediction)).part == part
    with pytest.raises(InvalidField, match="has no part 'es'; its parts: de, fr"):
        await submit(platform, service, part="es")
    assert asked == ["/predict", "/parts/fr/predict"]


async def test_each_prediction_is_counted_for_its_service_once_it_is_answered(platform: Platform, replica: str) -> None:
    service = await serve(platform, replica)
    host = await platform.start({"predict": predict})
    for row in [await submit(platform, service) for _ in range(5)]:
        await platform.until(row, "succeeded")
    await host.stop(5.0)  # writes what it has counted
    async with platform.database.read() as session:
        (minute,) = (await service_figures(session, service, (60,))).windows
    assert (minute.requests, minute.errors, minute.refused, sum(minute.latency.values())) == (5, 0, 0, 5)


async def test_a_prediction_that_no_replica_can_answer_any_more_is_counted_too(
    platform: Platform, executor: Executor, replica: str
) -> None:
    service = await serve(platform, replica)
    prediction = await submit(platform, service)
    async with platform.database.write() as session:
        row = await lock(session, Service, service.id)
        for move in ("pause", "paused"):
            await advance(session, row, move, TEST)
    assert not await executor.work_next("predict")
    await platform.until(prediction, "failed")
    (counted,) = await platform.resources.traffic.take()
    assert (counted.service_id, counted.replica_id, counted.requests, counted.refused) == (service.id, None, 1, 1)


async def test_many_predictions_take_fewer_transactions_than_that(platform: Platform, asked: list[str]) -> None:
    gate, counting = asyncio.Event(), Counting()
    async with open_replica(asked, gate=gate) as address, executing(platform) as executor:
        service = await serve(platform, address)
        # As many as one service may have at a time: a look that finds no room is a transaction, too.
        rows = [await submit(platform, service) for _ in range(executor.slots["predict"] // 2)]
        platform.database.observe(counting)
        await executor.work_next("predict")
        await wait_for(lambda: len(asked) == len(rows))
        gate.set()  # all of them end together
        for row in rows:
            await platform.until(row, "succeeded")
        assert counting.ended["write"] < len(rows)


async def test_a_replica_that_is_gone_before_its_row_says_so_costs_no_attempt(
    platform: Platform, executor: Executor, tmp_path: Path
) -> None:
    service = await serve(platform, f"unix://{tmp_path / 'gone.sock'}")
    prediction = await submit(platform, service)
    assert not await executor.work_next("predict")
    await wait_for(lambda: executor.free("predict") == executor.slots["predict"])
    waiting = await platform.now(prediction)
    assert (waiting.status, waiting.attempt) == ("starting", 0)
    assert waiting.waiting_for is not None


async def test_a_prediction_that_nobody_has_answered_by_its_deadline_is_canceled(
    platform: Platform, executor: Executor, tmp_path: Path
) -> None:
    service = await serve(platform, f"unix://{tmp_path / 'gone.sock'}")
    prediction = await submit(platform, service, cancel_after=timedelta(seconds=0.2))
    async with platform.deadline():
        while (await platform.now(prediction)).completed_at is None:
            await executor.work_next("predict")
            await asyncio.sleep(0.02)
    ended = await platform.now(prediction)
    assert (ended.status, ended.output, ended.error) == ("canceled", None, "its deadline passed")
    assert (ended.completed_at or 0) - ended.created_at < 60_000_000  # a replica would be waited for for ten minutes


async def until_ended(platform: Platform, prediction: Prediction) -> Prediction:
    return await platform.until_true(prediction, lambda row: row.completed_at is not None)


async def stored(platform: Platform, content: bytes) -> str:
    """The digest of an input in the store."""

    async def pieces() -> AsyncIterator[bytes]:
        yield content

    return str((await platform.resources.store.put(pieces())).digest)


async def test_rows_are_shown_as_what_they_say_and_sent_as_they_are(platform: Platform) -> None:
    read = b'{"columns": ["x"], "data": [["a\\u0000"]]}'
    async with open_replica([], {"/read": read}) as address, executing(platform) as executor:
        service = await serve(platform, address)
        options = {"content_type": "text/csv", "on_error": "record"}
        rows = await submit(
            platform, service, body=None, body_digest=await stored(platform, b"x\na\x00\n"), options=options
        )
        await executor.work_next("predict")
        ended = await until_ended(platform, rows)
        assert ended.output == {"outputs": [1], "errors": []}
        assert ended.body == {"columns": ["x"], "data": [["a\ufffd"]]}
        large = await stored(platform, b"x\n" * 40_000)
        rows = await submit(platform, service, body=None, body_digest=large, options=options)
        await executor.work_next("predict")
        assert (await until_ended(platform, rows)).body is None


@pytest.mark.parametrize("answer", [None, HANGING_UP, b"<html>"])  # None: it is of a release before
async def test_rows_that_a_replica_does_not_read_back_are_answered_all_the_same(
    platform: Platform, asked: list[str], answer: bytes | None
) -> None:
    async with open_replica(asked, {"/read": answer}) as address, executing(platform) as executor:
        service, counting = await serve(platform, address), Counting()
        digest = await stored(platform, b"x\n1\n")
        platform.database.observe(counting)
        rows = await submit(platform, service, body=None, body_digest=digest, options=CSV)
        await executor.work_next("predict")
        await wait_for(lambda: executor.free("predict") == executor.slots["predict"])
        assert counting.ended == {"write": 3}
        ended = await platform.now(rows)
        assert (ended.status, ended.output, ended.body, ended.attempt) == ("succeeded", [1], None, 1)
        assert asked == ["/predict", "/read"]


async def test_an_input_that_is_not_read_back_in_time_is_not_shown(platform: Platform, asked: list[str]) -> None:
    async with open_replica(asked, {"/parts/fr/read": SILENCE}) as address:
        post = partial(platform.resources.replicas.post, address, "token")
        row = Prediction(id="prd_1", part="fr")
        question = Question(b"x\n1\n", "text/csv")
        for within_s in (0.05, 0.5, 5.0):
            assert await shown_input(row, question, post, within_s) == {}
            if asked:  # else its time was over before it was sent
                break
        known = list(asked)
        assert await shown_input(row, question, post, -1.0) == {}
    assert set(known) == {"/parts/fr/read"}
    assert asked == known  # there was no time to ask again
