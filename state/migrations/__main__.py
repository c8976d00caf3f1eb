"""`python -m state.migrations` writes `newest.sql` from the migrations, as `make docs` does."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection

from state.database import open_database
from state.migrations.newest import FILE
from state.migrations.scripts import script_of, upgrade


def write(connection: Connection) -> None:
    """Run all migrations in an empty database and write what has come of it."""
    upgrade(connection, "head")
    FILE.write_text(script_of(connection), "utf-8")


async def main() -> None:
    """Write it from a database in a folder of its own."""
    with TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{Path(folder) / 'new.db'}")
        await database.run_sync(write)
        await database.close()


if __name__ == "__main__":
    asyncio.run(main())
