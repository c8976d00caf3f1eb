"""`portside migrate`: brings the database to this release's schema, and makes the first token. Safe to run by two."""

import asyncio
from contextlib import AsyncExitStack

from cli.backends import open_backends
from cli.failure import CommandFailed
from cli.output import Output
from core.errors import PlatformError
from core.logs import set_up_logs
from core.secrets import hash_token
from core.settings import Settings
from state.migrate import add_token, migrate
from state.queries.tokens import grants
from state.schema import read_schema

PATIENCE_S = 60.0  # a database may start at the same moment, or be busy


def run_migrate(settings: Settings) -> None:
    """Migrate and say from what to what. Raises `CommandFailed`."""
    set_up_logs(settings.log_level, None, settings.log_format)
    try:
        asyncio.run(_migrate(settings))
    except PlatformError as error:
        raise CommandFailed(error.message) from error


async def _migrate(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        backends = open_backends(settings, stack, statement_s=None)
        before = (await read_schema(backends.database)).revision
        await migrate(backends.database, backends.vault, patience_s=PATIENCE_S)
        after = (await read_schema(backends.database)).revision
        async with backends.database.read() as session:
            is_new = not await grants(session)
        if is_new and settings.admin_token is not None:
            await add_token(backends.database, hash_token(settings.admin_token), "first start")
    Output().say(f"schema {after}: nothing to do" if before == after else f"schema {before or 'none'} → {after}")
