"""What an API process of a divided platform needs from others to do its work: `/readyz/control` names what lacks."""

import asyncio
from collections.abc import Mapping

from api.dependencies import Check
from core.errors import PlatformError
from core.settings import Settings
from state.database import Database
from state.migrations.newest import newest_schema
from state.queries.checkup import processes, vacant
from state.schema import check, read_schema
from workers.broker.open import broker_fault


def control_checks(settings: Settings, database: Database) -> Mapping[str, Check]:
    """A question per part that is not this process; each answers what is wrong, or nothing."""

    async def schema() -> str | None:
        try:
            check(await read_schema(database), newest_schema())
        except PlatformError as error:
            return error.message
        return None

    async def broker() -> str | None:
        return await asyncio.to_thread(broker_fault, settings.broker_url)

    async def worker() -> str | None:
        return await _missing(database, "worker")

    async def node() -> str | None:
        return await _missing(database, "node")

    async def caretakers() -> str | None:
        async with database.read() as session:
            names = await vacant(session)
        if not names:
            return None
        return f"no process is the active {', '.join(names)}; one takes over within {settings.lease_s:g} s, if any runs"

    return {"schema": schema, "broker": broker, "worker": worker, "node": node, "caretakers": caretakers}


async def _missing(database: Database, role: str) -> str | None:
    async with database.read() as session:
        rows = await processes(session)
    if any(row.role == role and row.is_alive for row in rows):
        return None
    return f"no {role} was seen in the last seconds: start one with portside {role}"
