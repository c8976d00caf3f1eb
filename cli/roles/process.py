"""What every process of a divided platform does: read its settings, open the backends, say that it is there, wait."""

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

import uvloop

from cli.backends import Backends, open_backends
from cli.failure import CommandFailed, Exit
from cli.garbage import settle
from cli.metrics import serve_metrics
from cli.signals import say, stop_signals
from cli.versions import version_of
from core.errors import Json, PlatformError
from core.logs import set_up_logs
from core.settings import Settings
from state.migrations.newest import newest_schema
from state.notices import Notices
from state.processes import Presence, Self
from state.schema import check, read_schema
from workers.boot import owner_name


@dataclass(frozen=True, slots=True)
class Running:
    """A process that is open for work: what a role composes its parts from."""

    settings: Settings
    backends: Backends
    owner: str
    version: str
    stop: asyncio.Event
    stack: AsyncExitStack

    async def announce(
        self, role: str, details: Callable[[], Mapping[str, Json]] = dict, address: str | None = None
    ) -> None:
        """Write this process' row and keep it fresh, the last thing to start and the first to stop."""
        me = Self(self.owner, role, socket.gethostname(), os.getpid(), self.version, newest_schema(), address)
        self.backends.metrics.about(role, self.version, newest_schema())
        await serve_metrics(self.backends.metrics, self.settings, self.stack)
        presence = Presence(self.backends.database, me, details)
        await presence.start()
        self.stack.push_async_callback(presence.stop)
        settle()


# A thread that carries a wake-up waits so long for the loop's thread while that one computes; Python's own is 5 ms, a
# quarter of what a call may take to the start of its handler.
SWITCH_S = 0.0005

Compose = Callable[[Running], Awaitable[None]]


def run_role(settings: Settings, compose: Compose, *, parent_fd: int | None = None) -> None:
    """Run one process of a divided platform until it is asked to stop. Raises `CommandFailed`.

    `compose` starts its parts, and returns when `running.stop` is set.
    """
    must_be_shared(settings)
    sys.setswitchinterval(SWITCH_S)
    set_up_logs(settings.log_level, None, settings.log_format)
    try:
        uvloop.run(_run(settings, compose, parent_fd))
    except PlatformError as error:
        raise CommandFailed(error.message) from error
    except PermissionError as error:
        raise CommandFailed(f"{error.filename} cannot be used ({error.strerror}).") from error


def must_be_shared(settings: Settings) -> None:
    """Raises `CommandFailed` where the settings name what only one process can use."""
    wrong = []
    if settings.database.startswith("sqlite:"):
        wrong.append("PORTSIDE_DATABASE_URL=postgresql://…: SQLite belongs to one process")
    if settings.broker_url.startswith("inprocess:"):
        wrong.append("PORTSIDE_BROKER_URL=redis://…: the in-process broker wakes nobody else")
    if settings.secret_key is None:
        wrong.append("PORTSIDE_SECRET_KEY (32 bytes in base64), the same for all processes")
    if settings.artifacts_url is None:
        wrong.append("PORTSIDE_ARTIFACTS_URL=s3://… (or file:///DIR, a folder that all processes share)")
    if wrong:
        message = "A platform of several processes needs settings that this one does not have (portside up needs none)."
        raise CommandFailed(message, details=wrong, exit_status=Exit.USAGE)


async def _run(settings: Settings, compose: Compose, parent_fd: int | None) -> None:
    stop = asyncio.Event()
    with stop_signals(stop, parent_fd):
        async with AsyncExitStack() as stack:
            backends = open_backends(settings, stack)
            check(await read_schema(backends.database), newest_schema())
            notices = Notices(backends.database, settings.database)
            await notices.start()
            stack.push_async_callback(notices.stop)
            await compose(Running(settings, backends, owner_name(), version_of("portside"), stop, stack))
    say("Stopped.")
