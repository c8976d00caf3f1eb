"""`portside api`: the API and the gateway; any number of them stand behind one address."""

import gc
import socket

from api.dependencies import no_logs
from cli.front import start_front
from cli.roles.process import Running
from cli.server import http_server, serve_until
from cli.signals import say


async def run_api(running: Running, listener: socket.socket) -> None:
    """Serve until the process is asked to stop."""
    settings, backends = running.settings, running.backends
    front = await start_front(
        settings, backends, running.stack, read_logs=no_logs, signalled=False, version=running.version
    )
    host, port = listener.getsockname()[:2]
    await running.announce("api", address=f"http://{host}:{port}")
    server = http_server(front.app, settings.drain_s)
    gc.freeze()  # what the start has made stays: no collection shall walk through it while predictions wait
    say(f"Portside {running.version} api on http://{host}:{port}")
    await serve_until(server, listener, running.stop, front.context.waiters.close)
