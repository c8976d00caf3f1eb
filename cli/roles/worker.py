"""`portside worker`: claims due work and advances the state machines; any number of them share the lanes."""

from cli.roles.process import Running
from cli.signals import say
from workers.boot import build
from workers.registry import handlers
from workers.targets.node import NodeTarget


async def run_worker(running: Running) -> None:
    """Work until the process is asked to stop, then finish within the grace or hand back."""
    settings, backends = running.settings, running.backends
    database, store, cache, vault = backends.database, backends.store, backends.cache, backends.vault
    target = NodeTarget(database, settings)
    registry = backends.metrics.registry
    host = await build(
        settings,
        database,
        store,
        cache,
        target,
        vault,
        handlers=handlers(),
        alone=False,
        registry=registry,
        owner=running.owner,
    )
    await running.announce("worker", host.details)
    await host.start()
    running.stack.push_async_callback(host.stop, settings.drain_s)  # the first to stop: no claim after a SIGTERM
    say(f"Portside {running.version} worker {running.owner}")
    await running.stop.wait()
