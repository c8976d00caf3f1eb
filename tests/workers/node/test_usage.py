"""What replicas use is read from the operating system and written as samples."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

from state.samples import Sample
from tests.workers.node.world import SERVICE, World, open_world, until
from workers.node.usage import used_by

BUSY = "from time import process_time as t\nwhile t() < 0.2: pass\nprint(flush=True); input()"


async def samples(world: World) -> list[Sample]:
    async with world.database.read() as session:
        return list(await session.scalars(select(Sample).order_by(Sample.created_at, Sample.id)))


def test_time_and_memory_are_those_that_the_system_counts() -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        used, known = used_by(process.pid), psutil.Process(process.pid)
        times = known.cpu_times()
        assert used is not None
        assert used.cpu_s == pytest.approx(times.user + times.system, abs=0.05)
        assert used.cpu_s >= 0.2 - 0.02
        assert used.memory_bytes == pytest.approx(known.memory_info().rss, rel=0.1)
    finally:
        process.kill()
        process.communicate()
    assert used_by(process.pid) is None


async def test_the_samples_of_a_replica_add_up_to_all_that_it_used(data: Path) -> None:
    async with open_world(data, sample_s=0.05) as world:
        await world.node().start()
        await world.target.apply(world.spec(replicas=2))
        pids = {replica.id: await world.pid(replica.id) for replica in await world.ready(2)}
        before = {id: used_by(pid) for id, pid in pids.items()}
        known = len(await samples(world))

        async def of_both() -> list[Sample]:
            found = await samples(world)
            return found if all(sum(each.replica_id == id for each in found[known + 2 :]) >= 2 for id in pids) else []

        found = await until(of_both)
        after = {id: used_by(pid) for id, pid in pids.items()}
    assert {(each.service_id, each.requests) for each in found} == {(SERVICE, 0)}
    for id in pids:
        own = [each for each in found if each.replica_id == id]
        assert all((each.memory_bytes or 0) > 1_000_000 and (each.over_micros or 0) > 0 for each in own)
        least, most = before[id], after[id]
        assert least is not None
        assert most is not None
        told_s = sum(each.cpu_micros or 0 for each in own) / 1_000_000
        assert least.cpu_s - 0.001 <= told_s <= most.cpu_s + 0.001  # from its start, and no time twice


async def test_a_replica_that_has_ended_gets_no_more_samples(data: Path) -> None:
    async with open_world(data, sample_s=0.05) as world:
        await world.node().start()
        await world.target.apply(world.spec(replicas=2))
        _, leaving = await world.ready(2)
        await world.target.apply(world.spec(generation=2))
        await world.ready(1)
        before = await samples(world)

        async def of_the_other() -> bool:
            return len(await samples(world)) >= len(before) + 4

        await until(of_the_other)
        after = (await samples(world))[len(before) + 2 :]  # one of each was perhaps on its way
    assert leaving.id in {each.replica_id for each in before}
    assert leaving.id not in {each.replica_id for each in after}
