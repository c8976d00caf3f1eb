"""What a list reads of a spec: all but what may be large, which who reads one job or run is given."""

from typing import Final

from sqlalchemy import func, type_coerce
from sqlalchemy.dialects.postgresql import JSONB

from state.database import Session
from state.jobtables import Job, Run
from state.queries.lists import Columns
from state.tables import JsonColumn

# A mapping of thousands of columns, a requirements file with hashes: up to a megabyte, and a page has 500 of them.
LARGE: Final = ("mapping", "pass_through", "args", "outputs", "script.requirements")


def with_brief_spec(session: Session, table: type[Job] | type[Run]) -> Columns:
    """The spec without its large members; the database leaves them out."""
    if session.get_bind().dialect.name == "sqlite":
        return {"spec": func.json_remove(table.spec, *(f"$.{path}" for path in LARGE), type_=JsonColumn)}
    brief = type_coerce(table.spec, JSONB)
    for path in LARGE:
        brief = type_coerce(brief.delete_path(path.split(".")), JSONB)
    return {"spec": brief}
