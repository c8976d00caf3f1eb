"""Which schemas this release serves, and which releases a schema serves: how a platform is upgraded while it runs.

Schemas are numbered by their migrations. A migration expands: releases of the schema before go on working, so it is
applied first and the processes are replaced after it. One that contracts says in its `serves_from` which schema a
release must know at least; `schema_floor` in the database is the largest of them.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, inspect, select, text

from core.errors import PlatformError, Unavailable
from state.database import Database
from state.installation import Counter

OLDEST_SERVED = "0017"  # the tables and columns that this release cannot do without
FLOOR = "schema_floor"


class SchemaTooOld(Unavailable):
    """The database lacks what this release needs."""

    code, title = "schema_too_old", "The database must be migrated"


class SchemaTooNew(PlatformError):
    """A newer release has taken away what this one needs."""

    status, code, title = 503, "schema_too_new", "This release is too old for the database"


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database has: its revision (None before the first migration), and the oldest release that it serves."""

    revision: str | None
    floor: str


def check(schema: Schema, newest_known: str) -> None:
    """Raises `SchemaTooOld` or `SchemaTooNew` outside the range that this release serves."""
    if schema.revision is None or schema.revision < OLDEST_SERVED:
        found = "has no schema yet" if schema.revision is None else f"has schema {schema.revision}"
        raise SchemaTooOld(f"The database {found}; this release needs {OLDEST_SERVED} or later: run portside migrate.")
    if newest_known < schema.floor:
        raise SchemaTooNew(
            f"The database has schema {schema.revision}, which serves releases that know {schema.floor}; this one "
            f"knows {newest_known}: install a newer release."
        )


async def read_schema(database: Database) -> Schema:
    """What the database has now. Raises `DatabaseBusy`."""
    found: list[Schema] = []
    await database.run_sync(lambda connection: found.append(schema_on(connection)))
    return found[0]


def schema_on(connection: Connection) -> Schema:
    """The same on an open connection."""
    revision = None
    if inspect(connection).has_table("alembic_version"):
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    if revision is None:
        return Schema(None, "")
    floor = connection.scalar(select(Counter.value).where(Counter.name == FLOOR))
    return Schema(revision, "" if floor is None else f"{floor:04}")
