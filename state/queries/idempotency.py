"""Idempotency keys: the first transaction with a key keeps it; a concurrent duplicate waits for that one's commit."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from core.clock import now_micros
from core.errors import IdempotencyKeyReused
from state.database import Session, WriteSession
from state.tables import IdempotencyKey


@dataclass(frozen=True, slots=True)
class Slot:
    """The scope of one key: tenant, method and path; `body_sha256`, of body and query, tells requests apart."""

    tenant_id: str
    method: str
    path: str
    key: str
    body_sha256: str


@dataclass(frozen=True, slots=True)
class Earlier:
    """What the first request with the key left behind."""

    work_id: str
    resource_id: str | None


async def take(session: WriteSession, slot: Slot) -> Earlier | None:
    """Keep the key for this transaction, or answer what an earlier one did with it.

    Taken before the work: PostgreSQL makes a concurrent duplicate wait here for our commit, SQLite for the writer's
    lock. Raises `IdempotencyKeyReused` when the earlier body was another one.
    """
    row = {
        "tenant_id": slot.tenant_id,
        "method": slot.method,
        "path": slot.path,
        "key": slot.key,
        "body_sha256": slot.body_sha256,
        "operation_id": "",
        "created_at": now_micros(),
    }
    insert = postgresql_insert if session.get_bind().dialect.name == "postgresql" else sqlite_insert
    while True:
        made: Any = await session.execute(insert(IdempotencyKey).values(row).on_conflict_do_nothing())
        if made.rowcount == 1:
            return None
        earlier = await find(session, slot)
        if earlier is not None:
            return earlier
        # The earlier one was forgotten between the two statements: the key is free.


async def find(session: Session, slot: Slot) -> Earlier | None:
    """What an earlier request with the key left behind. Raises `IdempotencyKeyReused` when it was another request."""
    found = (await session.execute(select(IdempotencyKey).where(*_is(slot)))).scalar_one_or_none()
    if found is None:
        return None
    if found.body_sha256 != slot.body_sha256:
        raise reused(slot.key)
    return Earlier(found.operation_id, found.resource_id)


def reused(key: str) -> IdempotencyKeyReused:
    """The refusal of a key that came before with another request."""
    return IdempotencyKeyReused(
        f"the Idempotency-Key '{key}' came before with another body or query; use a new key for a new request"
    )


async def fill(session: WriteSession, slot: Slot, work_id: str, resource_id: str | None) -> None:
    """Remember what the key's request made, in the transaction that took the key."""
    values = {"operation_id": work_id, "resource_id": resource_id}
    await session.execute(update(IdempotencyKey).where(*_is(slot)).values(values))


def _is(slot: Slot) -> tuple[Any, ...]:
    table = IdempotencyKey
    return (
        table.tenant_id == slot.tenant_id,
        table.method == slot.method,
        table.path == slot.path,
        table.key == slot.key,
    )
