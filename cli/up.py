"""`portside up`: the whole platform in one process, from the first panel to the last line after Ctrl-C."""

import asyncio
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import uvloop
from pydantic import ValidationError

from api.auth import is_loopback
from cli.embedded import Embedded, start_embedded
from cli.failure import CommandFailed, Exit
from cli.folder import DataFolder
from cli.panel import Introduction, show_panel
from cli.server import bind, http_server, serve_until
from cli.versions import version_of
from core.errors import PlatformError
from core.logs import set_up_logs
from core.secrets import hash_token, new_token
from core.settings import Settings
from state.migrate import add_token
from state.queries.tokens import grants


def read_settings(data: Path | None = None, host: str | None = None, port: int | None = None) -> Settings:
    """The settings from the environment, with what the command line says on top. Raises `CommandFailed`."""
    given = {"data": data, "host": host, "port": port}
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]  # the names are the settings' own
    except ValidationError as error:
        details = [
            f"PORTSIDE_{'_'.join(map(str, wrong['loc'])).upper()}={wrong['input']}: {wrong['msg']}"
            for wrong in error.errors()
        ]
        raise CommandFailed("A setting has a value that it cannot have.", details=details, status=Exit.USAGE) from error


def run_up(settings: Settings, *, verbose: bool, parent_fd: int | None) -> None:
    """Run the platform until SIGINT or SIGTERM, or until `parent_fd` reads as ended.

    Raises `CommandFailed`: `FolderUnusable`, `AddressUnusable`, or the sentence of the part that cannot start.
    """
    folder = DataFolder(settings.data)
    try:
        listener = bind(settings.host, settings.port)
        set_up_logs(settings.log_level, None if verbose else folder.path / "logs" / "portside.log")
        uvloop.run(_run(settings, folder, listener, parent_fd))
    except PlatformError as error:
        raise CommandFailed(error.message) from error
    except PermissionError as error:
        raise CommandFailed(f"{error.filename} cannot be used ({error.strerror}).") from error
    finally:
        folder.release()


async def _run(settings: Settings, folder: DataFolder, listener: socket.socket, parent_fd: int | None) -> None:
    stop, version = asyncio.Event(), version_of("portside")
    with _stop_signals(stop, parent_fd):
        async with AsyncExitStack() as stack:
            stack.callback(listener.close)
            embedded = await start_embedded(settings, version, stop, stack)
            introduction = await _introduce(settings, embedded, listener)
            server = http_server(embedded.app, settings.drain_s)
            folder.address.write_text(introduction.url, "utf-8")
            show_panel(introduction, version)
            await serve_until(server, listener, stop, embedded.context.waiters.close)
            folder.address.unlink(missing_ok=True)
    print("Stopped.", file=sys.stderr)


async def _introduce(settings: Settings, embedded: Embedded, listener: socket.socket) -> Introduction:
    port = listener.getsockname()[1]
    token, token_file = await _first_token(settings, embedded)
    url = f"http://{_reachable(settings.host)}:{port}"
    return Introduction(url, settings.data.absolute(), token, token_file, _webhook_rule(settings))


def _reachable(host: str) -> str:
    """What to write into a URL: a wildcard address is reached by loopback, and IPv6 stands in brackets."""
    bare = host.strip("[]")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return bare
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return bare if address.version == 4 else f"[{bare}]"


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
def _stop_signals(stop: asyncio.Event, parent_fd: int | None) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks for a drain, the second ends the process at once."""
    loop = asyncio.get_running_loop()

    def ask(why: str) -> None:
        if stop.is_set():
            os._exit(Exit.INTERRUPTED)  # children end by the end of their pipe; work goes on at the next start
        print(f"\n{why}: finishing what is running; once more to stop at once.", file=sys.stderr, flush=True)
        stop.set()

    def parent_ended() -> None:
        if parent_fd is not None:
            loop.remove_reader(parent_fd)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask, number.name)
    if parent_fd is not None:
        loop.add_reader(parent_fd, parent_ended)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
