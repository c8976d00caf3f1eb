"""The node over a real database with real processes: a stand-in plays the model server."""

import os
import signal
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core.failpoints import arm
from state.placements import StaleGeneration
from state.queries.node import PlacedService, placed_services
from state.tables import History, Replica
from tests.workers.node.world import SWIFT, World, is_running, until
from workers.node.lease import EndlessTerm
from workers.node.plan import Start
from workers.node.rows import decide


async def gone(pid: int) -> None:
    async def look() -> bool:
        return not is_running(pid)

    await until(look)


async def row_of(world: World, replica_id: str) -> Replica:
    async with world.database.read() as session:
        row = await session.get(Replica, replica_id)
    assert row is not None
    return row


async def test_what_is_wanted_is_started_and_becomes_ready(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec(replicas=2))
    replicas = await world.ready(2)
    assert len({await world.pid(replica.id) for replica in replicas}) == 2
    assert {replica.generation for replica in replicas} == {1}


async def test_a_child_gets_its_arguments_and_a_constructed_environment(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec(variables={"COLOR": "blue", "PORTSIDE_SERVICE": "forged"}, memory_mb=512))
    [replica] = await world.ready(1)
    printed = await world.printed(replica.id)
    given, environment = printed["arguments"], printed["environment"]
    assert given["--name"] == given["--service"] == "iris"
    assert (given["--model-name"], given["--version"], given["--replica"]) == ("flowers", "3", replica.id)
    assert (given["--threads"], given["--memory-mb"]) == ("2", "512")
    assert replica.address == f"unix://{given['--socket']}"
    assert environment["COLOR"] == "blue"
    assert (environment["PORTSIDE_SERVICE"], environment["PORTSIDE_MODEL"]) == ("iris", "flowers")
    assert (environment["PORTSIDE_VERSION"], environment["PORTSIDE_REPLICA"]) == ("3", replica.id)
    assert environment["OMP_NUM_THREADS"] == "2"
    assert "PYTEST_CURRENT_TEST" not in environment


async def test_sockets_lie_in_a_private_folder_that_goes_with_the_node(world: World) -> None:
    node = world.node()
    await node.start()
    await world.target.apply(world.spec())
    [replica] = await world.ready(1)
    socket = Path(str(replica.address).removeprefix("unix://"))
    runtime = socket.parent.parent
    assert len(os.fsencode(socket)) < 104
    assert runtime.stat().st_mode & 0o777 == socket.parent.stat().st_mode & 0o777 == 0o700
    await node.stop(2)
    assert not runtime.exists()


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_what_a_replica_unpacks_lies_in_the_data_folder_and_goes_with_it(world: World) -> None:
    base = world.settings.data.absolute() / "scratch"
    (base / "left").mkdir(parents=True)
    (base / "left" / "portside-part").write_bytes(b"of a node that was killed")
    node = world.node()
    await node.start()
    await world.target.apply(world.spec())
    [replica] = await world.ready(1)
    folder = Path((await world.printed(replica.id))["environment"]["TMPDIR"])
    assert folder.parent.parent == base
    assert names(base) == [folder.parent.name]
    (folder / "portside-part").write_bytes(b"of a replica that is killed")
    os.kill(await world.pid(replica.id), signal.SIGKILL)

    async def look() -> bool:
        return folder.name not in names(folder.parent)

    await until(look)
    await node.stop(2)
    assert names(base) == []


async def test_a_killed_replica_is_replaced_and_its_row_says_how_it_ended(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec())
    [first] = await world.ready(1)
    os.kill(await world.pid(first.id), signal.SIGKILL)
    [ended] = await world.ended("failed")
    assert (ended.id, ended.reason) == (first.id, "killed")
    assert str(ended.message).startswith("ended by signal 9 (SIGKILL)")
    [second] = await world.ready(1)
    assert second.id != first.id


async def test_a_replica_that_is_no_longer_wanted_drains_and_stops(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec(replicas=2))
    older, newer = await world.ready(2)
    pid = await world.pid(newer.id)
    await world.target.apply(world.spec(replicas=1, generation=2))
    await gone(pid)
    [left] = await world.ready(1)
    assert left.id == older.id
    row = await row_of(world, newer.id)
    assert (row.status, row.reason) == ("stopped", "scaled_down")
    assert row.ended_at is not None


async def test_a_replica_that_is_to_leave_leaves_although_the_node_stumbled_after_its_decision(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec())
    [replica] = await world.ready(1)
    pid = await world.pid(replica.id)
    arm("node_before_spawn=raise")
    try:
        await world.target.remove("svc_1", 1)
        await gone(pid)
    finally:
        arm(None)
    await world.ended("stopped", 1)


async def test_removing_a_service_ends_every_process_even_a_stubborn_one(world: World) -> None:
    settings = world.settings.model_copy(update={"drain_s": 0.1})
    world.settings = settings
    await world.node().start()
    await world.target.apply(world.spec(variables={"MODE": "stubborn"}, replicas=2))
    pids = [await world.pid(replica.id) for replica in await world.ready(2)]
    await world.target.remove("svc_1", 1)
    assert {replica.reason for replica in await world.ended("stopped", 2)} == {"not_wanted"}
    assert not any(map(is_running, pids))


async def test_an_update_never_has_fewer_ready_replicas_than_wanted(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec(replicas=2))
    old = {replica.id for replica in await world.ready(2)}
    await world.target.apply(world.spec(replicas=2, revision_id="rev_2", generation=2))
    least = 2

    async def look() -> bool:
        nonlocal least
        alive = [replica for replica in await world.seen() if replica.status not in ("stopped", "failed")]
        least = min(least, sum(replica.status == "ready" for replica in alive))
        return len(alive) == 2 and not old.intersection(replica.id for replica in alive)

    await until(look)
    assert least == 2


async def test_a_restart_replaces_every_replica(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec())
    [old] = await world.ready(1)
    await world.target.apply(world.spec(generation=2, fresh_since=old.created_at + 1))

    async def look() -> bool:
        return (await world.seen("ready"))[-1:] != [old] and len(await world.ready(1)) == 1

    await until(look)
    assert (await row_of(world, old.id)).reason == "replaced"


async def test_a_node_whose_clock_is_behind_restarts_each_replica_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_this_host = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: of_this_host() - 3600 * 10**9)
    await world.node().start()
    await world.target.apply(world.spec())
    [old] = await world.ready(1)
    await world.target.apply(world.spec(generation=2, fresh_since=of_this_host() // 1000))

    async def look() -> bool:
        return (await world.seen("ready"))[-1:] != [old] and len(await world.ready(1)) == 1

    await until(look)
    async with world.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(Replica)) == 2


async def test_a_failed_update_leaves_the_old_replicas_serving(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec())
    [old] = await world.ready(1)
    await world.target.apply(world.spec(revision_id="rev_2", generation=2, variables={"MODE": "refuse"}))
    await world.ended("failed")
    assert [replica.id for replica in await world.seen("ready")] == [old.id]


async def test_a_refused_model_says_why_and_is_not_tried_for_ever(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec(variables={"MODE": "refuse"}))
    refused = await world.ended("failed", 3)
    assert {replica.reason for replica in refused} == {"model_refused"}
    assert refused[0].message == "opset 99 is too new (export again)"
    async with world.database.read() as session:
        services = await placed_services(session)
    assert services[0].replicas == ()


async def test_a_crash_tells_its_exit_code_and_the_last_lines(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec(variables={"MODE": "crash"}))
    crashes = await world.ended("failed", 3)
    assert {replica.reason for replica in crashes} == {"exited"}
    assert str(crashes[0].message).startswith("ended with exit code 3\n")
    assert str(crashes[0].message).endswith("line before the end")


async def test_crashes_are_answered_with_ever_longer_pauses(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec(variables={"MODE": "crash"}))
    rows = [await row_of(world, replica.id) for replica in await world.ended("failed", 3)]
    _, second_s = [(b.created_at - (a.ended_at or 0)) / 1e6 for a, b in pairwise(rows)]
    assert second_s >= 0.5  # and the first replacement comes at once: `test_plan`


async def test_too_little_memory_is_said(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec(variables={"MODE": "hungry"}, memory_mb=64))
    [first, *_] = await world.ended("failed")
    assert first.reason == "out_of_memory"
    assert "its limit is 64 MiB" in str(first.message)


async def test_a_replica_that_never_answers_fails_at_the_deadline(world: World) -> None:
    world.settings = world.settings.model_copy(update={"deploy_timeout_s": 0.3})
    await world.node().start()
    await world.target.apply(world.spec(variables={"MODE": "deaf"}))
    [first, *_] = await world.ended("failed")
    assert first.reason == "start_timeout"
    assert not is_running(await world.pid(first.id))


async def test_a_replica_that_stops_answering_is_unready_and_comes_back(world: World, tmp_path: Path) -> None:
    switch = tmp_path / "switch"
    await world.node().start()
    await world.target.apply(world.spec(variables={"SWITCH": str(switch)}))
    [replica] = await world.ready(1)
    switch.touch()

    async def look() -> bool:
        return len(await world.seen("unready")) == 1

    await until(look)
    switch.unlink()
    assert [found.id for found in await world.ready(1)] == [replica.id]


async def test_a_replica_that_stays_unready_is_replaced(world: World) -> None:
    await world.node(replace(SWIFT, check_timeout_s=0.3, unready_s=0.2)).start()
    await world.target.apply(world.spec())
    [replica] = await world.ready(1)
    os.kill(await world.pid(replica.id), signal.SIGSTOP)  # hangs: no answer and no end
    [ended] = await world.ended("failed")
    assert (ended.id, ended.reason) == (replica.id, "unready")
    assert not is_running(await world.pid(replica.id))
    await world.ready(1)


async def test_an_artifact_that_is_missing_fails_the_replica_with_the_reason(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec(digest="sha256:" + "0" * 64))
    [first, *_] = await world.ended("failed")
    assert first.reason == "blob_missing"


async def test_an_interpreter_that_is_missing_fails_the_replica_with_the_reason(world: World) -> None:
    await world.node(command=lambda _: ["no-such-interpreter"]).start()
    await world.target.apply(world.spec())
    [first, *_] = await world.ended("failed")
    assert first.reason == "start_failed"
    assert "no-such-interpreter" in str(first.message)


async def test_a_secret_of_another_key_fails_the_replica_with_the_reason(world: World) -> None:
    await world.node().start()
    await world.target.apply(replace(world.spec(variables={"A": "b"}), revision_id="rev_of_another"))
    [first, *_] = await world.ended("failed")
    assert first.reason == "secret_unreadable"


async def test_an_older_wish_is_refused_and_changes_nothing(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec(generation=5))
    await world.ready(1)
    with pytest.raises(StaleGeneration):
        await world.target.apply(world.spec(generation=4, replicas=3))
    with pytest.raises(StaleGeneration):
        await world.target.remove("svc_1", 4)
    assert len(await world.ready(1)) == 1


async def test_a_decision_for_an_older_wish_is_dropped_before_anything_starts(world: World) -> None:
    node = world.node()  # never started: only this decision may act
    await world.target.apply(world.spec())
    async with world.database.read() as session:
        [service] = await placed_services(session)
    await world.target.apply(world.spec(generation=2, replicas=0))
    assert isinstance(service, PlacedService)
    assert await decide(world.database, EndlessTerm(), service.wanted, [Start()], node._premises().place) is None
    assert await world.seen() == []


async def test_a_row_without_a_process_is_ended_and_replaced(world: World) -> None:
    node = world.node()
    await node.start()
    await world.target.apply(world.spec(replicas=0))
    await world.target.apply(world.spec(generation=2))
    async with world.database.read() as session:
        [service] = await placed_services(session)
    await world.ready(1)
    decided = await decide(world.database, EndlessTerm(), service.wanted, [Start()], node._premises().place)
    assert decided is not None
    [ended] = await world.ended("failed")
    assert (ended.id, ended.reason) == (decided.started[0], "process_missing")
    await world.ready(1)


async def test_each_change_is_in_the_history(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec())
    [replica] = await world.ready(1)
    await world.target.remove("svc_1", 1)
    await world.ended("stopped")
    async with world.database.read() as session:
        rows = [await session.get(History, (replica.id, number)) for number in (1, 2, 3, 4)]
    assert [(row.move, row.actor) for row in rows if row] == [
        ("create", "node"),
        ("ready", "node"),
        ("stop", "node"),
        ("stopped", "node"),
    ]


async def test_stopping_the_platform_ends_its_children_and_the_next_start_serves_again(world: World) -> None:
    first = world.node()
    await first.start()
    await world.target.apply(world.spec(replicas=2))
    pids = [await world.pid(replica.id) for replica in await world.ready(2)]
    await first.stop(2)
    assert not any(map(is_running, pids))
    assert {(r.status, r.reason) for r in await world.seen()} == {("stopped", "platform_stopped")}
    await world.node().start()
    assert len(await world.ready(2)) == 2
