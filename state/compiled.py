"""Statements as the texts that a driver takes, and rows to and from a driver's values.

SQLAlchemy compiles each statement once per dialect; what it would do at every execution is left out.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, TypeVar, cast

from sqlalchemy import (
    ARRAY,
    JSON,
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    Executable,
    SQLColumnExpression,
    String,
    Table,
    any_,
    bindparam,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.types import TypeEngine

from state.tables import Base

Row = TypeVar("Row", bound=Base)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Query:
    """A statement's text in a driver's own style, the names of its parameters in order, and those that are fixed."""

    text: str
    names: tuple[str, ...]
    fixed: Mapping[str, object] = field(default_factory=dict)

    def values(self, given: Mapping[str, object]) -> list[object]:
        """The parameters in order."""
        known = {**self.fixed, **given} if self.fixed else given
        return [known[name] for name in self.names]


@cache
def compiled(statement: Executable, dialect: str) -> Query:
    """The statement as a text; one object per statement, so make each only once."""
    # SQLAlchemy does not tell the types of what follows.
    source: Any = statement
    dialects: Any = {"postgresql": asyncpg.dialect, "sqlite": sqlite.dialect}
    made = source.compile(dialect=dialects[dialect](), compile_kwargs={"render_postcompile": True})
    names = tuple(made.positiontup or ())
    fixed = {name: value for name, value in made.params.items() if value is not None}
    return Query(str(made), names, fixed)


@cache
def inserting(table: type[Base], dialect: str) -> Query:
    """The statement that inserts one row of the table, all columns given; the database fills in what it has a default
    for where that is nothing."""
    columns = _columns(table)
    return compiled(insert(columns).values({column.name: _given(column) for column in columns.columns}), dialect)


@cache
def updating(table: type[Base], names: tuple[str, ...], dialect: str) -> Query:
    """The statement that sets these columns of the row with the id `row_id`."""
    columns = _columns(table)
    values = {name: parameter(f"to_{name}", columns.c[name].type) for name in names}
    return compiled(
        update(columns).where(columns.c.id == parameter("row_id", columns.c.id.type)).values(values), dialect
    )


def parameter(name: str, of_type: TypeEngine[T]) -> BindParameter[T]:
    """A value that is given at each execution."""
    return bindparam(name, type_=of_type, required=False)


def among(column: SQLColumnExpression[str], name: str, dialect: str) -> ColumnElement[bool]:
    """The column is one of the texts in the list that is given as the parameter `name`."""
    return _among(column, partial(parameter, name), dialect)


def among_these(column: SQLColumnExpression[str], texts: Collection[str], dialect: str) -> ColumnElement[bool]:
    """The column is one of these texts: a condition whose statement is the same however many they are.

    `in_` has a parameter for each, and writing 500 of them into a statement takes longer than the database to answer.
    """
    value = listed(texts, dialect)
    return _among(column, lambda of_type: bindparam(None, value, type_=of_type), dialect)


def _among(
    column: SQLColumnExpression[str], given: Callable[[TypeEngine[Any]], BindParameter[Any]], dialect: str
) -> ColumnElement[bool]:
    if dialect == "postgresql":
        return column == any_(given(ARRAY(String)))
    texts = func.json_each(given(String())).table_valued("value")
    return column.in_(select(texts.c.value))


def listed(texts: Collection[str], dialect: str) -> object:
    """A list of texts as the driver takes it for `among`."""
    return list(texts) if dialect == "postgresql" else json.dumps(list(texts))


def row_of(table: type[Row], values: Sequence[object], dialect: str) -> Row:
    """A detached row from the values of all its columns, in the table's order."""
    row = table()
    for (name, decode), value in zip(_decoders(table, dialect), values, strict=False):
        set_committed_value(row, name, value if decode is None or value is None else decode(value))
    return row


def values_of(row: Base) -> dict[str, object]:
    """What is inserted for a new row: what was set, and the defaults of what was not."""
    given = row.__dict__
    return {name: encode(given[name]) if name in given else default for name, encode, default in _encoders(type(row))}


def encoded(table: type[Base], changes: Mapping[str, object]) -> dict[str, object]:
    """Changed columns as `updating` takes them. Raises KeyError for what is no column."""
    encoders = _encoders_by_name(table)
    return {f"to_{name}": encoders[name](value) for name, value in changes.items()}


def check_columns(table: type[Base], names: Collection[str]) -> None:
    """Raises AttributeError for what is no column of the table."""
    if unknown := set(names) - set(_encoders_by_name(table)):
        raise AttributeError(f"{table.__tablename__} has no column {sorted(unknown)[0]!r}")


def _columns(table: type[Base]) -> Table:
    return cast(Table, table.__table__)


@cache
def _decoders(table: type[Base], dialect: str) -> tuple[tuple[str, Any], ...]:
    return tuple((column.name, _decoder(column.type, dialect)) for column in _columns(table).columns)


def _decoder(of_type: object, dialect: str) -> Any:
    if dialect == "postgresql":  # SQLAlchemy has taught its driver
        return None
    if isinstance(of_type, JSON):
        return json.loads
    return bool if isinstance(of_type, Boolean) else None


@cache
def _encoders(table: type[Base]) -> tuple[tuple[str, Any, object], ...]:
    return tuple((column.name, _encoder(column.type), _default(column)) for column in _columns(table).columns)


@cache
def _encoders_by_name(table: type[Base]) -> Mapping[str, Any]:
    return {name: encode for name, encode, _ in _encoders(table)}


def _given(column: Column[Any]) -> ColumnElement[Any]:
    value = parameter(column.name, column.type)
    default: Any = column.default
    return func.coalesce(value, default.arg) if _is_of_database(column) else value


def _is_of_database(column: Column[Any]) -> bool:
    return column.default is not None and column.default.is_clause_element


def _encoder(of_type: object) -> Any:
    if isinstance(of_type, JSON):
        return _as_json
    return _as_text if isinstance(of_type, String) else _as_it_is


def _default(column: Any) -> object:
    return None if column.default is None or _is_of_database(column) else column.default.arg


def _as_json(value: object) -> str | None:
    return None if value is None else json.dumps(value, default=dict)


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)  # an enum's member is one, too; a driver may want exactly `str`


def _as_it_is(value: object) -> object:
    return value
