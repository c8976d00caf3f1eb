"""`portside up`: the whole platform in one process, from the first panel to the last line after Ctrl-C."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from api.auth import is_loopback
from cli.embedded import Embedded, start_embedded
from cli.folder import DataFolder
from cli.panel import show_panel
from cli.server import bind, http_server, serve_until
from core.logs import set_up_logs
from core.secrets import hash_token, new_token
from core.settings import Settings
from state.migrate import add_token
from state.queries.tokens import grants

FORCED_EXIT = 130


@dataclass(frozen=True, slots=True)
class Started:
    """What the user is told once the platform answers."""

    url: str
    data: Path
    token: str | None
    token_file: Path | None
    webhooks: str


def run_up(settings: Settings, version: str, *, verbose: bool) -> None:
    """Run the platform until SIGINT or SIGTERM. Raises `FolderUnusable`, `AddressUnusable`."""
    folder = DataFolder(settings.data)
    try:
        listener = bind(settings.host, settings.port)
        set_up_logs(settings.log_level, None if verbose else folder.path / "logs" / "portside.log")
        uvloop.run(_run(settings, version, listener))
    finally:
        folder.release()


async def _run(settings: Settings, version: str, listener: socket.socket) -> None:
    stop = asyncio.Event()
    with _stop_signals(stop):
        async with AsyncExitStack() as stack:
            embedded = await start_embedded(settings, version, stack)
            server = http_server(embedded.app, settings.drain_s)
            address_file = settings.data / "address"
            stack.callback(address_file.unlink, missing_ok=True)
            started = await _introduce(settings, embedded, listener)
            address_file.write_text(started.url)
            show_panel(started, version)
            await serve_until(server, listener, stop)


async def _introduce(settings: Settings, embedded: Embedded, listener: socket.socket) -> Started:
    port = listener.getsockname()[1]
    shown = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 (compared, not bound)
    token, token_file = await _first_token(settings, embedded)
    return Started(f"http://{shown}:{port}", settings.data.absolute(), token, token_file, _webhook_rule(settings))


def _webhook_rule(settings: Settings) -> str:
    if settings.allow_private_webhooks:
        return "webhooks may reach private addresses (PORTSIDE_ALLOW_PRIVATE_WEBHOOKS)"
    if settings.allow_private_webhooks is None and is_loopback(settings.host):
        return "webhooks may reach this machine (loopback), no other private address"
    return "webhooks may reach public addresses only"


async def _first_token(settings: Settings, embedded: Embedded) -> tuple[str | None, Path | None]:
    """On any other than a loopback bind a token is required: the first one is made here and shown once."""
    file = settings.data.absolute() / "token"
    if is_loopback(settings.host):
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


@contextmanager
def _stop_signals(stop: asyncio.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks for a drain, the second ends the process at once."""
    loop = asyncio.get_running_loop()

    def on_signal(name: str) -> None:
        if stop.is_set():
            os._exit(FORCED_EXIT)  # children end by the end of their pipe; work goes on at the next start
        print(f"\n{name}: finishing what is running; once more to stop at once.", file=sys.stderr, flush=True)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number.name)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
