"""A process that is nothing but a node, with the settings of its environment; it says when it has started, and waits.

Made to be killed and stopped: python -m tests.workers.node.node_only DATA
"""

import asyncio
import logging
import sys
from pathlib import Path

from tests.workers.node.world import open_world


async def run(data: Path) -> None:
    """Start the node."""
    async with open_world(data) as world:
        await world.node().start()
        print("started", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    asyncio.run(run(Path(sys.argv[1])))
