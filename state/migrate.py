"""Bringing a database to the newest schema, and the rows that every installation has."""

import asyncio
import time
from typing import Any

from sqlalchemy import Connection, select, text
from sqlalchemy.dialects import postgresql, sqlite

from core.clock import now_micros
from core.errors import DatabaseBusy
from core.failpoints import failpoint
from core.ids import new_id
from core.secrets import Vault, new_webhook_secret
from state.backfills import backfill
from state.database import Database
from state.installation import Counter
from state.migrations.newest import is_empty, lay_out, newest_schema
from state.migrations.open import upgrade
from state.schema import check, read_schema, schema_on
from state.tables import Tenant, Token, User

DEFAULT_TENANT = "ten_default"
LOCAL_USER = "usr_local"
# Less than PostgreSQL waits before it looks for a deadlock (1 s): it is the migration that gives way, never a request.
LOCK_TIMEOUT = "500ms"
AGAIN_S = 0.5
LOCK_KEY = 7_078_083  # an arbitrary constant: PostgreSQL's advisory lock lets one of many starters migrate


def _upgrade(connection: Connection) -> bool:
    """Apply the next migration; answers whether there are more.

    One each transaction: who holds one table and waits for the next would meet requests that do so the other way round.
    A new database has no requests, and gets all at once.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK_KEY})"))
        # A change that waits for a table makes everybody behind it wait: rather give up and try again.
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
    schema, head = schema_on(connection), newest_schema()
    if schema.revision is not None and schema.revision > head:
        check(schema, head)  # a newer release was here: nothing to do, if it left what we need
    elif schema.revision is None and is_empty(connection):
        lay_out(connection)
        failpoint("migration_step")
    elif schema.revision != head:
        upgrade(connection, "head" if schema.revision is None else "+1")
        return schema_on(connection).revision != head
    return False


async def migrate(database: Database, vault: Vault, *, patience_s: float = 0.0) -> None:
    """Apply missing migrations, complete old rows, and make sure that the default tenant, its admin and the counters
    exist. For `patience_s` a database that is away, or whose tables are busy, is asked again. Raises `DatabaseBusy`.
    """
    deadline = time.monotonic() + patience_s
    is_more = True
    while is_more:
        try:
            is_more = await database.run_sync(_upgrade)
        except DatabaseBusy:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(AGAIN_S)
    await _first_rows(database, vault)
    await backfill(database, (await read_schema(database)).revision or "")


async def _first_rows(database: Database, vault: Vault) -> None:
    failpoint("migration_before_rows")
    async with database.write() as session:
        if await session.scalar(select(Tenant.id).where(Tenant.id == DEFAULT_TENANT)) is not None:
            return
        now = now_micros()
        sealed = vault.seal(new_webhook_secret(), f"tenant:{DEFAULT_TENANT}")
        rows: list[tuple[type[Any], dict[str, Any]]] = [
            (Tenant, {"id": DEFAULT_TENANT, "name": "default", "webhook_secret_sealed": sealed, "created_at": now}),
            (
                User,
                {"id": LOCAL_USER, "tenant_id": DEFAULT_TENANT, "name": "local", "role": "admin", "created_at": now},
            ),
            (Counter, {"name": "routing_version", "value": 1}),
        ]
        insert_new = postgresql.insert if database.dialect == "postgresql" else sqlite.insert
        for table, values in rows:
            # Two starters may both have found nothing.
            await session.execute(insert_new(table).values(values).on_conflict_do_nothing())


async def add_token(database: Database, token_hash: str, name: str) -> None:
    """Store the hash of a new token of the local admin; one that another starter stored meanwhile stays."""
    insert_new = postgresql.insert if database.dialect == "postgresql" else sqlite.insert
    row = {
        "id": new_id("tok"),
        "tenant_id": DEFAULT_TENANT,
        "created_at": now_micros(),
        "user_id": LOCAL_USER,
        "name": name,
        "hash": token_hash,
    }
    async with database.write() as session:
        await session.execute(insert_new(Token).values(row).on_conflict_do_nothing())
