"""Rows by id, whatever their table: what waiters look at together."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, SQLColumnExpression, func, select

from core.errors import NotFound
from state.compiled import among_these
from state.database import Session
from state.tables import Claimable, Owned, Resource

Row = TypeVar("Row", bound=Owned)
MOST_IDS = 500  # per query; SQLite counts 32,766 variables, but a plan for so many is slow to make


async def by_ids(session: Session, table: type[Row], ids: Sequence[str]) -> dict[str, Row]:
    """The rows that exist, by id."""
    found: dict[str, Row] = {}
    for start in range(0, len(ids), MOST_IDS):
        query: Any = select(table).where(table.id.in_(ids[start : start + MOST_IDS]))
        found |= {row.id: row for row in await session.scalars(query)}
    return found


def among_ids(session: Session, column: SQLColumnExpression[str], ids: Collection[str]) -> ColumnElement[bool]:
    """The column is one of these ids."""
    return among_these(column, ids, session.get_bind().dialect.name)


def begins_with(column: SQLColumnExpression[str], prefix: str) -> ColumnElement[bool]:
    """The column begins so, letter by letter: SQLite's LIKE takes `A` for `a`."""
    return func.substr(column, 1, len(prefix)) == prefix


async def sequences(session: Session, table: type[Claimable | Resource], ids: Sequence[str]) -> Mapping[str, int]:
    """How often the status of each has changed; of the rows that exist. One query, however many they are."""
    found = await session.execute(select(table.id, table.sequence).where(among_ids(session, table.id, ids)))
    return {row.id: row.sequence for row in found}


def nowhere(noun: str, row_id: str) -> NotFound:
    """The error that no `noun` has this id, with the list that tells those there are."""
    where = "/api/v1/webhooks/{webhook_id}/deliveries" if noun == "delivery" else f"/api/v1/{noun}s"
    return NotFound(f"no {noun} has the id '{row_id[:60]}'; GET {where} lists them")


async def owned(session: Session, table: type[Row], tenant_id: str, row_id: str, noun: str) -> Row:
    """The tenant's row. Raises `NotFound`, also for another tenant's."""
    query: Any = select(table).where(table.id == row_id, table.tenant_id == tenant_id)
    row: Row | None = (await session.execute(query)).scalar_one_or_none()
    if row is None:
        raise nowhere(noun, row_id)
    return row
