"""The newest schema in one step, for a new SQLite database: `newest.sql` says what all migrations make of an empty one.

A test compares both; `make docs` writes the file anew, as it must be after a new migration.
"""

import re
from functools import cache
from pathlib import Path

from sqlalchemy import Connection

FOLDER = Path(__file__).parent
FILE = FOLDER / "newest.sql"
END = ";\n"
EVERYTHING = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"


@cache
def newest_schema() -> str:
    """The newest schema that this release knows: its migrations' files begin with their numbers."""
    names = (file.name for file in (FOLDER / "versions").glob("*.py"))
    return max(number[0] for name in names if (number := re.match(r"\d{4}(?=_)", name)))


def is_empty(connection: Connection) -> bool:
    """Whether this is a SQLite database with nothing in it."""
    return connection.dialect.name == "sqlite" and not connection.exec_driver_sql(EVERYTHING).first()


def lay_out(connection: Connection) -> None:
    """Make the newest schema in an empty SQLite database."""
    for statement in FILE.read_text("utf-8").split(END)[:-1]:
        connection.exec_driver_sql(statement)
