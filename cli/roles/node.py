"""`portside node`: starts and heals the model servers; one per installation, a second one stands by."""

from cli.roles.process import Running
from cli.signals import say
from workers.node.node import Node
from workers.runtimes import Runtimes


async def run_node(running: Running) -> None:
    """Supervise until the process is asked to stop, then end every replica within the grace."""
    settings, backends = running.settings, running.backends
    registry = backends.metrics.registry
    node = Node(
        settings,
        backends.database,
        backends.store,
        backends.cache,
        backends.vault,
        owner=running.owner,
        registry=registry,
    )
    await node.start()
    running.stack.push_async_callback(node.stop, settings.drain_s)
    runtimes = Runtimes(settings)
    runtimes.start()
    running.stack.push_async_callback(runtimes.stop)
    await running.announce("node", runtimes.details, address=node.logs_address)
    say(f"Portside {running.version} node {running.owner}")
    await running.stop.wait()
