"""The database's clock: it decides when work is due and a lease is over, because those of hosts differ."""

from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement


class db_now(FunctionElement[int]):  # noqa: N801  (reads as the SQL function it is)
    """The database's clock in microseconds; on PostgreSQL the wall clock, not the transaction's start."""

    type = BigInteger()
    inherit_cache = True


@compiles(db_now, "postgresql")
def _now_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    # In a SELECT of its own it is read once: a function that changes while one looks is no condition for an index.
    return "(SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT))"


@compiles(db_now, "sqlite")
def _now_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    # julianday keeps milliseconds and exists in every SQLite; unixepoch('subsec') needs 3.42.
    return "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000"
