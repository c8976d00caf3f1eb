"""PostgreSQL's driver as `state.direct` uses it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
from sqlalchemy.exc import DBAPIError, IntegrityError

from state.compiled import Query
from state.drivers import Values

# Each statement here finds its rows by an index, whatever its parameters: planned once per connection instead of at
# each execution, which would take longer than the execution, and longer still in large tables. A plan that was made
# when a table was small must not stay with reading all of it.
BEGIN = "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off"


class AsyncpgDriver:
    """One connection, for the length of one transaction."""

    dialect = "postgresql"

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def begin(self) -> None:
        """Begin a transaction that writes."""
        await self._connection.execute(BEGIN)

    async def fetch(self, query: Query, values: Values) -> Sequence[Sequence[object]]:
        """The rows that the statement answers."""
        found: list[Any] = await self._connection.fetch(query.text, *query.values(values))
        return found

    async def run(self, query: Query, rows: Sequence[Values]) -> None:
        """Run the statement for each of these; the driver sends them all before it reads an answer."""
        await self._connection.executemany(query.text, [query.values(row) for row in rows])

    async def commit(self) -> None:
        """Make it last."""
        await self._connection.execute("COMMIT")

    async def rollback(self) -> None:
        """Undo it, if the connection is still there."""
        if not self._connection.is_closed():
            await self._connection.execute("ROLLBACK")

    @property
    def is_closed(self) -> bool:
        """Whether the connection is gone."""
        return bool(self._connection.is_closed())

    @property
    def is_in_transaction(self) -> bool:
        """Whether a transaction has begun and not ended."""
        return bool(self._connection.is_in_transaction())


@contextmanager
def asyncpg_errors() -> Iterator[None]:
    """Raise what the driver raises as SQLAlchemy would."""
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        raise IntegrityError("a direct statement", None, error) from error
    except (
        asyncpg.ConnectionDoesNotExistError,
        asyncpg.ConnectionFailureError,
        # The driver's own words for a connection that the server has cut: "connection is closed".
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
    ) as error:
        raise DBAPIError("a direct statement", None, error, connection_invalidated=True) from error
    except asyncpg.PostgresError as error:
        raise DBAPIError("a direct statement", None, error) from error
