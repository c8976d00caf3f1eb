"""A process that is nothing but a node on a data folder, with one service; it prints its children and waits.

Made to be killed: python -m tests.workers.node.node_alone DATA MODE REPLICAS
"""

import asyncio
import sys
from pathlib import Path

from tests.workers.node.world import open_world


async def run(data: Path, mode: str, replicas: int) -> None:
    """Start the node, wait until all replicas are ready, print their pids."""
    async with open_world(data) as world:
        await world.node().start()
        await world.target.apply(world.spec(variables={"MODE": mode}, replicas=replicas))
        pids = [await world.pid(replica.id) for replica in await world.ready(replicas)]
        print(*pids, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
