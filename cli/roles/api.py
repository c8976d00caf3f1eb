"""`portside api`: the API and the gateway; any number of them stand behind one address."""

import asyncio
import socket

from cli.front import start_front
from cli.grpc_port import open_grpc_port
from cli.leaving import Leaving
from cli.readiness import control_checks
from cli.remote_logs import remote_log_reader
from cli.roles.process import Running
from cli.server import http_server, serve_until
from cli.signals import say
from workers.boot import build_nudger


async def run_api(running: Running, listener: socket.socket) -> None:
    """Serve until the process is asked to stop."""
    settings, backends = running.settings, running.backends
    nudger = build_nudger(settings, backends.database, backends.metrics.registry)
    await nudger.start()
    running.stack.push_async_callback(nudger.stop)
    read_logs = remote_log_reader(backends.database, backends.vault, running.stop)
    checks = control_checks(settings, backends.database)
    front = await start_front(
        settings,
        backends,
        running.stack,
        read_logs=read_logs,
        signalled=False,
        version=running.version,
        checks=checks,
        is_leaving=running.stop.is_set,
    )
    host, port = listener.getsockname()[:2]
    await running.announce("api", address=f"http://{host}:{port}")
    leaving = Leaving(front.app, running.stop, settings.leave_s)
    server = http_server(leaving, settings.drain_s, settings.trusted_proxies, front.short)
    grpc = await open_grpc_port(settings, front.gateway, leaving.closed, running.stack, is_leaving=running.stop.is_set)
    say(f"Portside {running.version} api on http://{host}:{port}" + (f", gRPC on {grpc}" if grpc else ""))
    watching = asyncio.create_task(leaving.watch(), name="leaving")
    await serve_until(server, listener, leaving.closed, front.context.let_go)
    watching.cancel()
