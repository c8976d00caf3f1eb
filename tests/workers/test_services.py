"""The handlers of services on a real database and the real target; no node runs, so no replica ever comes."""

import math
import time
from dataclasses import replace

import pytest

from core.clock import now_micros
from core.ids import new_id
from state.advance import advance, lock
from state.claims import ClaimLost, take, take_many
from state.history import begin
from state.migrate import DEFAULT_TENANT
from state.operations import Who, submit
from state.specs import wanted_spec
from state.tables import Placement, Replica, Service
from state.turns import Room, Turns
from tests.workers.platform import Platform
from tests.workers.services import TEST, running_service
from workers.handlers.services import restart, update
from workers.outcomes import Failed, Progress, Wait
from workers.resources import Clock, Held, Lease
from workers.targets.node import NodeTarget
from workers.watcher import Watcher


async def test_whoever_lost_its_claim_can_place_and_remove_nothing(platform: Platform) -> None:
    target = NodeTarget(platform.database, platform.resources.settings)
    service = await running_service(platform, live_replicas=1, replicas=1)
    async with platform.database.write() as session:
        operation = await submit(session, Who(DEFAULT_TENANT, "test", "admin"), "service.restart", service)
    taken = await take(platform.database, "control", "test", 10_000_000)
    assert taken is not None
    async with platform.database.read() as session:
        spec = await wanted_spec(session, service.id, service.generation)
    await target.apply(spec, taken[0])
    await platform.set_operation(operation.id, epoch=7)
    with pytest.raises(ClaimLost):
        await target.apply(replace(spec, replicas=5), taken[0])
    with pytest.raises(ClaimLost):
        await target.remove(service.id, service.generation, taken[0])
    async with platform.database.read() as session:
        placement = await session.get(Placement, service.id)
    assert placement is not None
    assert placement.replicas == 1


async def test_a_failed_restart_that_was_to_grow_goes_back_to_the_size_that_ran(platform: Platform) -> None:
    target = NodeTarget(platform.database, platform.resources.settings)
    resources = replace(platform.resources, target=target)
    service = await running_service(platform, live_replicas=1, replicas=2)
    async with platform.database.write() as session:
        operation = await submit(session, Who(DEFAULT_TENANT, "test", "admin"), "service.restart", service)
        operation.started_at = 1  # its time is over
    taken = await take(platform.database, "control", "test", 10_000_000)
    assert taken is not None
    outcome = await restart(Held(*taken, Lease(math.inf), Clock(now_micros())), resources)
    assert isinstance(outcome, Failed)
    assert outcome.target["replicas"] == 1
    async with platform.database.read() as session:
        placement = await session.get_one(Placement, service.id)
    assert placement.replicas == 1


async def test_a_deploy_says_how_many_replicas_have_begun_and_are_ready(platform: Platform) -> None:
    target = NodeTarget(platform.database, platform.resources.settings)
    resources = replace(platform.resources, target=target)
    service = await running_service(platform, live_replicas=1, replicas=4)
    async with platform.database.write() as session:
        await submit(session, Who(DEFAULT_TENANT, "test", "admin"), "service.update", service)
        for moves in (("ready",), ()):
            replica = Replica(id=new_id("rep"), tenant_id=DEFAULT_TENANT, created_at=now_micros(), generation=1)
            replica.service_id, replica.revision_id = service.id, str(service.revision_id)
            await begin(session, replica, TEST)
            for move in moves:
                await advance(session, replica, move, TEST)
    taken = await take(platform.database, "control", "test", 10_000_000)
    assert taken is not None
    outcome = await update(Held(*taken, Lease(math.inf), Clock(now_micros())), resources)
    assert isinstance(outcome, Wait)
    assert outcome.progress == Progress(33, "starting", "1 of 4 replicas are ready")


async def test_the_replicas_that_a_canceled_restart_has_not_reached_are_kept(platform: Platform) -> None:
    target = NodeTarget(platform.database, platform.resources.settings)
    service = await running_service(platform, live_replicas=2, replicas=2)
    async with platform.database.read() as session:
        wanted = await wanted_spec(session, service.id, 1)
    await target.apply(replace(wanted, fresh_since=now_micros()))
    async with platform.database.write() as session:
        held = await lock(session, Service, service.id)
        await advance(session, held, "weaken", TEST, generation=1)  # as a cancel does
    await Watcher(platform.database, target).look()
    async with platform.database.read() as session:
        placement = await session.get_one(Placement, service.id)
    assert (placement.fresh_since, placement.replicas) == (0, 2)


async def test_a_failed_restart_of_one_replica_wants_that_replica_again(platform: Platform) -> None:
    target = NodeTarget(platform.database, platform.resources.settings)
    resources = replace(platform.resources, target=target)
    service = await running_service(platform, live_replicas=2, replicas=2)
    async with platform.database.write() as session:
        who = Who(DEFAULT_TENANT, "test", "admin")
        operation = await submit(session, who, "service.restart", service, replica="rep_1")
    taken = await take(platform.database, "control", "test", 10_000_000)
    assert taken is not None
    held = Held(*taken, Lease(math.inf), Clock(now_micros()))
    assert isinstance(await restart(held, resources), Wait)
    async with platform.database.read() as session:
        placement = await session.get_one(Placement, service.id)
    assert (placement.replacing, placement.fresh_since, placement.replicas) == ("rep_1", 0, 2)
    # A node of the release before would stumble over what it does not know.
    assert not {"replacing", "config_sealed", "runtime"} & placement.spec.keys()
    await platform.set_operation(operation.id, started_at=1)  # its time is over
    held.row.started_at = 1
    assert isinstance(await restart(held, resources), Failed)
    async with platform.database.read() as session:
        placement = await session.get_one(Placement, service.id)
    assert (placement.replacing, placement.replicas) == (None, 2)


async def test_the_watcher_forgets_the_replica_that_was_replaced(platform: Platform) -> None:
    target = NodeTarget(platform.database, platform.resources.settings)
    service = await running_service(platform, live_replicas=2, replicas=2)
    async with platform.database.read() as session:
        wanted = await wanted_spec(session, service.id, 1)
    await target.apply(replace(wanted, replacing="rep_1"))
    async with platform.database.write() as session:
        held = await lock(session, Service, service.id)
        await advance(session, held, "weaken", TEST, generation=1)
    await Watcher(platform.database, target).look()
    async with platform.database.read() as session:
        placement = await session.get_one(Placement, service.id)
    assert (placement.replacing, placement.replicas) == (None, 2)


@pytest.mark.parametrize("apart_s", [-3600, 3600])
async def test_a_restart_replaces_what_was_made_before_it_by_the_database_clock(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, apart_s: int
) -> None:
    target = NodeTarget(platform.database, platform.resources.settings)
    resources = replace(platform.resources, target=target)
    service = await running_service(platform, live_replicas=1, replicas=1)
    before, of_this_host = now_micros(), time.time_ns
    with monkeypatch.context() as elsewhere:  # the process that is asked, and the worker
        elsewhere.setattr(time, "time_ns", lambda: of_this_host() + apart_s * 10**9)
        async with platform.database.write() as session:
            await submit(session, Who(DEFAULT_TENANT, "test", "admin"), "service.restart", service)
        taken = await take_many(platform.database, "control", "test", 10_000_000, Room(1), Turns())
        [each] = taken.taken
        outcome = await restart(Held(each.claim, each.row, Lease(math.inf), Clock(each.at)), resources)
    assert isinstance(outcome, Wait)
    async with platform.database.read() as session:
        placement = await session.get_one(Placement, service.id)
    assert before - 1000 <= placement.fresh_since <= now_micros() + 1000  # the database counts in milliseconds
