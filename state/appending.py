"""Rows that are written once and that nobody reads before their transaction has ended: history, events, the audit.

A transaction collects them and writes them just before its commit: for each table one exchange with the driver, at a
tenth of what a session of SQLAlchemy takes for each row.
"""

from collections.abc import Sequence

from sqlalchemy import literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from state.compiled import inserting, values_of
from state.open import driver_errors, driver_of
from state.tables import Base


async def insert_all(connection: AsyncConnection, rows: Sequence[Base]) -> None:
    """Insert the rows in the transaction that this connection is in.

    Raises what SQLAlchemy would for the same rows. A connection that was cut is given up, so that it meets nobody else.
    """
    by_table: dict[type[Base], list[Base]] = {}
    for row in rows:
        by_table.setdefault(type(row), []).append(row)
    pooled = await connection.get_raw_connection()
    driver = driver_of(pooled.driver_connection, connection.dialect.name)
    if not driver.is_in_transaction:  # SQLAlchemy tells asyncpg with the first statement
        await connection.execute(select(literal(1)))
    try:
        with driver_errors(connection.dialect.name):
            for table, new in by_table.items():
                await driver.run(inserting(table, driver.dialect), [values_of(row) for row in new])
    finally:
        if driver.is_closed:
            await connection.invalidate()
