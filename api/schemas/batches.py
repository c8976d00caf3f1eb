"""What a request for many says, and what is told of each of them (API.md section 2)."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from api.filters import Kind, read_condition
from api.links import Links
from api.schemas.base import Answer, Body, at_most, shown_as
from core.errors import FieldProblem, InvalidField, Json, Rejected
from state.batches import MOST, Item
from state.queries.lists import Condition

Id = Annotated[str, Field(min_length=1, max_length=60)]
FilterValue = str | int | bool | list[str]


class ManyBody(Body):
    """Which ones: by `ids`, or by a `filter` with the names that the list's query takes; one of the two."""

    model_config = shown_as(
        {"filter": {"status": "failed", "created_at.gt": "2026-01-31T12:00:00Z"}, "dry_run": True},
        {"ids": ["op_01m7y40qde9dt99tecq4pzbw6t"]},
    )

    ids: Annotated[list[Id], at_most(MOST, f"at most {MOST} ids"), Field(min_length=1)] | None = None
    filter: Annotated[dict[str, FilterValue], at_most(20, "at most 20 conditions"), Field(min_length=1)] | None = None
    dry_run: bool = Field(False, description="Only tell what would become of each.")

    @model_validator(mode="after")
    def _one_of_two(self) -> "ManyBody":
        if (self.ids is None) == (self.filter is None):
            raise PydanticCustomError("one_of", "give either 'ids' or 'filter', and not both")
        return self


class BatchItem(Answer):
    """What became of one."""

    id: str
    outcome: Literal["accepted", "unchanged", "failed"]
    operation: str | None = Field(description="The URL of its operation, where there is one.")
    error: dict[str, Any] | None = Field(description="Why it failed: a problem.")


class BatchShown(Answer):
    """What became of many; that some failed is no failure of the request."""

    dry_run: bool
    accepted: int
    unchanged: int
    failed: int
    has_more: bool = Field(description=f"The filter names more than {MOST}: ask again to go on.")
    items: list[BatchItem]


def read_filter(given: Mapping[str, FilterValue], fields: Mapping[str, Kind]) -> tuple[Condition, ...]:
    """The conditions of a filter. Raises `UnknownField`, `InvalidField`, pointing into the body."""
    try:
        return tuple(read_condition(name, _text(name, value), fields, list(fields)) for name, value in given.items())
    except Rejected as error:
        error.fields = tuple(FieldProblem(f"/filter{f.pointer}", f.detail, f.hint) for f in error.fields)
        raise


def _text(name: str, value: FilterValue) -> str:
    """The value as a query would have it."""
    if isinstance(value, list):
        if not name.endswith(".in"):
            detail = f"'{name[:100]}' takes one value; write {name[:100]}.in for several"
            raise InvalidField(detail, fields=[FieldProblem(f"/{name[:100]}", detail)])
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def item_document(item: Item) -> dict[str, Json]:
    """One item as it is kept for a replay: its operation by id."""
    return {"id": item.id, "outcome": item.outcome, "operation": item.operation_id, "error": item.error}


def batch_document(kept: Mapping[str, Json], links: Links) -> dict[str, Json]:
    """The whole answer, its operations as URLs."""
    items = cast(list[dict[str, str | None]], kept["items"])
    shown = [{**item, "operation": _url(item["operation"], links)} for item in items]
    return {**kept, "items": shown}


def _url(operation_id: str | None, links: Links) -> str | None:
    return None if operation_id is None else links.operation(operation_id)
