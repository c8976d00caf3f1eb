"""kill -9 of the node's process: no child outlives it, and the next node serves again."""

import sys
import time
from asyncio.subprocess import PIPE, create_subprocess_exec
from pathlib import Path

from tests.workers.node.world import World, is_running, open_world, until


async def killed_alone(root: Path, data: Path, mode: str, replicas: int) -> list[int]:
    """The children of a node that was killed when all of them were ready."""
    arguments = ("-m", "tests.workers.node.node_alone", str(data), mode, str(replicas))
    process = await create_subprocess_exec(sys.executable, *arguments, cwd=root, stdout=PIPE)
    try:
        assert process.stdout is not None
        pids = [int(pid) for pid in (await process.stdout.readline()).split()]
        assert len(pids) == replicas
        assert all(map(is_running, pids))
    finally:
        process.kill()
        await process.wait()
    return pids


async def serves_again(world: World, replicas: int) -> None:
    started = time.monotonic()
    await world.node().start()
    await world.ready(replicas)
    assert time.monotonic() - started < 20  # one on a machine of one's own
    assert {replica.reason for replica in await world.seen("failed")} == {"platform_restarted"}


async def test_children_end_with_a_killed_node_and_the_next_one_serves_again(repository_root: Path, data: Path) -> None:
    pids = await killed_alone(repository_root, data, "", 3)

    async def look() -> bool:
        return not any(map(is_running, pids))

    await until(look)
    async with open_world(data) as world:
        await serves_again(world, 3)


async def test_a_child_that_did_not_end_is_swept_by_the_next_node(repository_root: Path, data: Path) -> None:
    [pid] = await killed_alone(repository_root, data, "stubborn", 1)
    assert is_running(pid)
    async with open_world(data) as world:
        await serves_again(world, 1)
        assert not is_running(pid)
