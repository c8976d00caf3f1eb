"""The migrations as Alembic runs them, behind a door of its own (`state.migrations.open`), and what they make."""

from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, insert

from state.installation import Counter
from state.migrations.newest import END, EVERYTHING
from state.schema import FLOOR, schema_on


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, with the connection to run on."""
    found = Config()
    found.set_main_option("script_location", str(Path(__file__).parent))
    found.attributes["connection"] = connection
    return found


def upgrade(connection: Connection, revision: str) -> None:
    """Apply migrations up to the revision, and say in the database which releases it serves now (`state.schema`)."""
    command.upgrade(config(connection), revision)
    scripts = ScriptDirectory.from_config(config())
    reached = schema_on(connection).revision or "head"
    floors = [getattr(script.module, "serves_from", "0001") for script in scripts.walk_revisions("base", reached)]
    connection.execute(delete(Counter).where(Counter.name == FLOOR))
    connection.execute(insert(Counter).values(name=FLOOR, value=int(max(floors))))


def script_of(connection: Connection) -> str:
    """What makes a SQLite database such as this one: its tables, its indexes, its rows."""
    made = connection.exec_driver_sql(EVERYTHING).all()
    tables = [name for kind, name, _ in made if kind == "table"]
    statements = [*(sql for _, _, sql in made), *(row for table in tables for row in _rows(connection, table))]
    return "".join(statement + END for statement in statements)


def _rows(connection: Connection, table: str) -> Iterator[str]:
    columns = [f'"{column[1]}"' for column in connection.exec_driver_sql(f"PRAGMA table_info({table})")]
    literals = ", ".join(f"quote({column})" for column in columns)
    for row in connection.exec_driver_sql(f"SELECT {literals} FROM {table}"):  # noqa: S608 (our own)
        yield f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(row)})"  # noqa: S608 (our own)
