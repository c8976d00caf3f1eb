"""`portside up`: the whole platform in one process, from the first panel to the last line after Ctrl-C."""

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from api.auth import is_loopback
from cli.address import reachable
from cli.embedded import start_embedded
from cli.failure import CommandFailed
from cli.folder import DataFolder
from cli.front import Front
from cli.garbage import settle
from cli.grpc_port import open_grpc_port
from cli.panel import Introduction, show_panel
from cli.server import http_server, serve_until
from cli.signals import say, stop_signals
from cli.versions import version_of
from core.errors import PlatformError
from core.logs import set_up_logs
from core.secrets import hash_token, new_token
from core.settings import Settings
from state.migrate import add_token
from state.migrations.newest import newest_schema
from state.processes import Presence, Self
from state.queries.tokens import grants
from workers.boot import owner_name
from workers.runtimes import Runtimes


def run_up(
    settings: Settings, folder: DataFolder, listener: socket.socket, *, verbose: bool, parent_fd: int | None
) -> None:
    """Run the platform until SIGINT or SIGTERM, or until `parent_fd` reads as ended.

    The caller holds the folder and the address. Raises `CommandFailed` with the sentence of the part that cannot start.
    """
    try:
        log = None if verbose else folder.path / "logs" / "portside.log"
        set_up_logs(settings.log_level, log, settings.log_format)
        uvloop.run(_run(settings, folder, listener, log, parent_fd))
    except PlatformError as error:
        raise CommandFailed(error.message) from error
    except PermissionError as error:
        raise CommandFailed(f"{error.filename} cannot be used ({error.strerror}).") from error


async def _run(
    settings: Settings, folder: DataFolder, listener: socket.socket, log: Path | None, parent_fd: int | None
) -> None:
    stop, version = asyncio.Event(), version_of("portside")
    with stop_signals(stop, parent_fd):
        async with AsyncExitStack() as stack:
            owner = owner_name()
            embedded = await start_embedded(settings, version, stop, stack, owner)
            grpc = await open_grpc_port(settings, embedded.gateway, stop, stack, after=listener.getsockname()[1])
            introduction = await _introduce(settings, embedded, listener, log, grpc)
            await _announce(settings, embedded, owner, version, introduction.url, stack)
            server = http_server(embedded.app, settings.drain_s, settings.trusted_proxies, embedded.short)
            settle()
            folder.address.write_text(introduction.url, "utf-8")
            show_panel(introduction, version)
            await serve_until(server, listener, stop, embedded.context.let_go)
            folder.address.unlink(missing_ok=True)
    say("Stopped.")


async def _announce(
    settings: Settings, front: Front, owner: str, version: str, url: str, stack: AsyncExitStack
) -> None:
    """Say who runs; whoever ran before on this folder is dead."""
    me = Self(owner, "embedded", socket.gethostname(), os.getpid(), version, newest_schema(), url)
    runtimes = Runtimes(settings)
    runtimes.start()
    stack.push_async_callback(runtimes.stop)
    presence = Presence(front.context.database, me, runtimes.details)
    await presence.start(alone=True)
    stack.push_async_callback(presence.stop)


async def _introduce(
    settings: Settings, embedded: Front, listener: socket.socket, log: Path | None, grpc: str | None
) -> Introduction:
    port = listener.getsockname()[1]
    token, token_file = await _first_token(settings, embedded)
    url = f"http://{reachable(settings.host)}:{port}"
    return Introduction(url, settings.data.absolute(), log, token, token_file, _webhook_rule(settings), grpc)


def _webhook_rule(settings: Settings) -> str:
    if settings.allow_private_webhooks:
        return "may reach private addresses (PORTSIDE_ALLOW_PRIVATE_WEBHOOKS)"
    if settings.allow_private_webhooks is None and is_loopback(settings.host):
        return "may reach this machine (loopback), no other private address"
    return "may reach public addresses only"


async def _first_token(settings: Settings, embedded: Front) -> tuple[str | None, Path | None]:
    """Where a token is required (any other than a loopback bind), the first one is made here and shown once."""
    file = settings.data.absolute() / "token"
    if is_loopback(settings.host) and not settings.require_token:
        return None, None
    database = embedded.context.database
    async with database.read() as session:
        if await grants(session):
            return None, file if file.exists() else None
    token = new_token()
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
        handle.write(token)
    await add_token(database, hash_token(token), "first start")
    await embedded.context.authenticator.refresh()
    return token, file
