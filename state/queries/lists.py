"""Filtered lists in pages by keyset: a page begins after the last row seen, so rows made meanwhile shift nothing."""

from collections import namedtuple
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Generic, Literal, TypeVar

from sqlalchemy import ColumnElement, Select, UnaryExpression, func, inspect, literal, not_, or_, select, tuple_
from sqlalchemy.sql.operators import custom_op

from state.database import Session
from state.tables import Owned

Row = TypeVar("Row")
Listed = TypeVar("Listed", bound=Owned)
Comparison = Literal["eq", "ne", "gt", "ge", "lt", "le", "contains", "prefix", "suffix", "in"]
Value = str | int | float | bool
RANGES = ("gt", "ge", "lt", "le")
Columns = Mapping[str, ColumnElement[Any]]  # by the names that they have in a row
NOTHING: Columns = {}


@dataclass(frozen=True, slots=True)
class Condition:
    """One filter: `field comparison values`, `negated` or not; only `in` has more than one value."""

    field: str
    comparison: Comparison
    values: tuple[Value, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last (or first) row of a page: its value in the ordering column and its id."""

    value: str | int
    id: str


@dataclass(frozen=True, slots=True)
class View:
    """Which rows of a list, in which order, from where, how many, and whether to count them all.

    `after` a row or, for the page before that one, `before` a row; never both.
    """

    conditions: tuple[Condition, ...] = ()
    order_by: str = "created_at"
    descending: bool = True
    after: Cursor | None = None
    before: Cursor | None = None
    size: int = 50
    count: bool = False


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """The rows of one page, where the next one begins and the previous one ends, and the total if it was asked for."""

    rows: Sequence[Row]
    next: Cursor | None
    total: int | None
    previous: Cursor | None = None


async def page(
    session: Session,
    base: Select[Listed],
    table: type[Listed],
    view: View,
    *,
    without: Collection[str] = (),
    instead: Columns = NOTHING,
) -> Page[Listed]:
    """One page of `base`, a select of `table`; filters and order name columns of `table`.

    The rows have the table's columns, except those that the caller can do `without`, and nothing else of it: no session
    knows them. A page of 500 takes half the time so. What is read `instead` of a column has its name.
    """
    dialect = session.get_bind().dialect.name
    query = base.where(*(_clause(_filtered(table, each, view, dialect), each) for each in view.conditions))
    total = await session.scalar(select(func.count()).select_from(query.subquery())) if view.count else None
    column = getattr(table, view.order_by)
    is_back = view.before is not None
    falls = view.descending != is_back  # towards the page before, the rows come in the opposite order
    if (start := view.before or view.after) is not None:
        here, edge = tuple_(column, table.id), tuple_(literal(start.value), literal(start.id))
        query = query.where(here < edge if falls else here > edge)
    order = (column.desc(), table.id.desc()) if falls else (column, table.id)
    rows = await _read(session, query.order_by(*order).limit(view.size + 1), table, without, instead)
    has_more = len(rows) > view.size
    del rows[view.size :]
    if is_back and not rows:  # they were all deleted: the list begins at the page that was left
        return await page(session, base, table, replace(view, before=None), without=without, instead=instead)
    if is_back:
        rows.reverse()
    ends = [Cursor(getattr(row, view.order_by), row.id) for row in (rows[:1] + rows[-1:])]
    has_next, has_previous = (True, has_more) if is_back else (has_more, view.after is not None)
    return Page(rows, ends[-1] if has_next else None, total, ends[0] if ends and has_previous else None)


def _filtered(table: type[Owned], condition: Condition, view: View, dialect: str) -> Any:
    """The column that the condition names.

    SQLite keeps no statistics: for a range it would take any index on it, and sort what may be most of the table into
    the order of the page. `+` before the column keeps it from that (https://sqlite.org/optoverview.html#uplus).
    """
    column: Any = getattr(table, condition.field)
    is_beside = condition.comparison in RANGES and condition.field != view.order_by
    if dialect == "sqlite" and is_beside:
        return UnaryExpression(column, operator=custom_op("+"), type_=column.type)
    return column


async def _read(
    session: Session,
    query: Select[Listed],
    table: type[Listed],
    without: Collection[str],
    instead: Columns,
) -> list[Listed]:
    kept = [column for column in inspect(table).columns if column.name not in without]
    columns: Any = [instead[each.name].label(each.name) if each.name in instead else each for each in kept]
    connection = await session.connection()
    found = await connection.execute(query.with_only_columns(*columns))
    shown: Any = _shown(tuple(found.keys()))
    return [shown._make(values) for values in found.fetchall()]


@cache
def _shown(names: tuple[str, ...]) -> type[tuple[object, ...]]:
    """What rows with these columns are read as; of all classes with attributes a tuple's objects are made fastest."""
    return namedtuple("_Shown", names)


async def matching_ids(
    session: Session, base: Select[Listed], table: type[Listed], conditions: Sequence[Condition], limit: int
) -> Sequence[str]:
    """The ids of the rows of `base` that all conditions hold for, the oldest first."""
    query = base.where(*(_clause(getattr(table, condition.field), condition) for condition in conditions))
    ids: Select[Any] = query.with_only_columns(table.id)
    return list(await session.scalars(ids.order_by(table.created_at, table.id).limit(limit)))


def _clause(column: Any, condition: Condition) -> Any:
    value = condition.values[0]
    clauses: Mapping[str, Callable[[], Any]] = {
        "eq": lambda: column == value,
        "ne": lambda: or_(column != value, column.is_(None)),
        "gt": lambda: column > value,
        "ge": lambda: column >= value,
        "lt": lambda: column < value,
        "le": lambda: column <= value,
        "contains": lambda: column.icontains(value, autoescape=True),
        "prefix": lambda: column.istartswith(value, autoescape=True),
        "suffix": lambda: column.iendswith(value, autoescape=True),
        "in": lambda: column.in_(condition.values),
    }
    clause = clauses[condition.comparison]()
    # A row without the value does not have it: SQL would leave it out of both the filter and its opposite.
    return or_(not_(clause), column.is_(None)) if condition.negated else clause
