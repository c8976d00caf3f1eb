"""Which column of a dataset feeds which input of the model, and which columns go through to the output."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from serving.arrow.arrays import is_foreign, refusal
from serving.batch.plan import BatchFailed, Plan
from serving.data.formats import Column, Format
from serving.datatypes import FLOATS, INTEGERS, in_words
from serving.features import compile_features, vector_width
from serving.header import Header
from serving.problems import Problem, pointer_token, shorten
from serving.signature import Datatype, InputField, Signature

_MOST_TOLD: Final = 20  # names in a message


@dataclass(frozen=True, slots=True)
class Fed:
    """A column of the dataset, what the model calls what it feeds, and the input that this is, or is a place of."""

    column: str
    name: str
    field: InputField


@dataclass(frozen=True, slots=True)
class Binding:
    """The dataset's columns and the model's inputs; `signature` has a name for each place that has a column."""

    signature: Signature
    fed: tuple[Fed, ...]
    pass_through: tuple[str, ...]

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that are read."""
        return tuple(dict.fromkeys([*(each.column for each in self.fed), *self.pass_through]))

    def column_of(self, token: str) -> str | None:
        """The column that a part of a pointer names."""
        return next((each.column for each in self.fed if pointer_token(each.name) == token), None)


def bind(plan: Plan, signature: Signature, columns: Sequence[str]) -> Binding:
    """Find each input's columns: by the plan, else by name, else by position. Raises `BatchFailed`."""
    through = _passed_through(plan, columns)
    signature, feeds = _feeds(plan, signature, columns)
    header = Header(signature, compile_features(signature))
    try:
        header.sources(list(feeds))
        fed = tuple(Fed(column, name, header.feed(name).field) for name, column in feeds.items())
    except (Problem, KeyError) as error:
        detail = "; ".join(each.detail for each in error.errors) if isinstance(error, Problem) else str(error)
        raise _invalid(f"the dataset does not feed the model: it {detail}", signature, columns) from error
    twice = {name for name in (*feeds.values(), *through) if list(columns).count(name) > 1}
    if twice:
        raise _invalid(f"the dataset has several columns {shorten(min(twice))!r}", signature, columns)
    return Binding(signature, fed, through)


def check_types(binding: Binding, schema: pa.Schema) -> None:
    """Refuse columns of which no value fits what they feed. Raises `BatchFailed`."""
    for each in binding.fed:
        kind, datatype = schema.field(each.column).type, each.field.datatype
        told = f"the column {shorten(each.column)!r} is of the type {shorten(str(kind))}"
        if why := refusal(kind):
            raise BatchFailed("mapping_invalid", f"{told}, {why}", "cast it to numbers, strings, or lists of them")
        if is_foreign(kind, datatype):
            what = f"{told}; the input {shorten(each.field.name)!r} takes {in_words(datatype)} ({datatype})"
            raise BatchFailed("mapping_invalid", what, "map another column to it, or cast this one")


def as_fed(format_: Format, binding: Binding) -> Format:
    """The format with the types that the inputs take, where the cells are text: `007` stays a text for a text input."""
    if format_.format != "csv":
        return format_
    wanted = {each.column: _word(each.field.datatype) for each in binding.fed}
    return replace(format_, columns=tuple(_typed(column, wanted.get(column.name)) for column in format_.columns))


def _typed(column: Column, wanted: str | None) -> Column:
    is_right = wanted is None or column.type == wanted or (wanted == "int64" and column.type in ("float64", "bool"))
    return column if is_right or wanted is None else Column(column.name, wanted)


def _word(datatype: Datatype) -> str:
    if datatype in FLOATS:
        return "float64"
    return "int64" if datatype in INTEGERS else "bool" if datatype == "BOOL" else "string"


def _passed_through(plan: Plan, columns: Sequence[str]) -> tuple[str, ...]:
    if plan.passes_all:
        return tuple(columns)
    for name in plan.pass_through:
        if name not in columns:
            hint = _near(name, columns) or f"it has: {_listed(columns)}"
            raise BatchFailed("mapping_invalid", f"pass_through: the dataset has no column {shorten(name)!r}", hint)
    return tuple(dict.fromkeys(plan.pass_through))


def _feeds(plan: Plan, signature: Signature, columns: Sequence[str]) -> tuple[Signature, dict[str, str]]:
    """The column of each input, and of each place where several columns fill a vector."""
    given = dict(plan.mapping or {})
    _check_mapping(given, signature, columns)
    feeds: dict[str, str] = {}
    fields: list[InputField] = []
    for field in signature.inputs:
        wanted = given.get(field.name)
        places = [place for place in field.features or () if place in given or place in columns]
        if isinstance(wanted, tuple):
            field = _with_places(field, len(wanted))
            feeds |= dict(zip(field.features or (), wanted, strict=True))
        elif wanted is not None or (field.name in columns and not places):
            feeds[field.name] = str(wanted or field.name)
        else:
            feeds |= {place: str(given.get(place, place)) for place in places}
        fields.append(field)
    if not feeds and (position := _by_position(plan, signature, columns)):
        fields = [_with_places(signature.inputs[0], len(position))]
        feeds = dict(zip(fields[0].features or (), position, strict=True))
    return replace(signature, inputs=tuple(fields)), feeds


def _by_position(plan: Plan, signature: Signature, columns: Sequence[str]) -> Sequence[str]:
    """The columns that fill the model's only input, a vector whose places have no names, one after the other."""
    only = signature.inputs[0]
    if len(signature.inputs) > 1 or only.features or plan.mapping:
        return ()
    width = vector_width(only, signature)
    others = [name for name in columns if plan.passes_all or name not in plan.pass_through]
    return next((fitting for fitting in (columns, others) if len(fitting) == width), ())


def _with_places(field: InputField, width: int) -> InputField:
    return replace(field, features=tuple(f"{field.name}({at})" for at in range(width)))


def _check_mapping(given: Mapping[str, str | tuple[str, ...]], signature: Signature, columns: Sequence[str]) -> None:
    inputs = {field.name: field for field in signature.inputs}
    known = [*inputs, *(place for field in signature.inputs for place in field.features or ())]
    for name, wanted in given.items():
        if name not in known:
            raise _invalid(f"mapping: {shorten(name)!r} is not an input of this model", signature, columns, name)
        for column in (wanted,) if isinstance(wanted, str) else wanted:
            if column not in columns:
                hint = _near(column, columns) or f"it has: {_listed(columns)}"
                detail = f"mapping: the dataset has no column {shorten(column)!r} for {shorten(name)!r}"
                raise BatchFailed("mapping_invalid", detail, hint)
        if isinstance(wanted, tuple):
            width = vector_width(inputs[name], signature) if name in inputs else None
            if width is None or (width >= 0 and width != len(wanted)) or not wanted:
                takes = f"which has {width} places" if width is not None and width >= 0 else "which is no vector"
                detail = f"mapping: {len(wanted)} columns are given for {shorten(name)!r}, {takes}"
                raise BatchFailed("mapping_invalid", detail, "map one column to an input, or one to each of its places")


def _invalid(detail: str, signature: Signature, columns: Sequence[str], name: str = "") -> BatchFailed:
    takes = [place for field in signature.inputs for place in field.features or (field.name,)]
    hint = f"the model takes: {_listed(takes)}; the dataset has: {_listed(columns)}"
    near = _near(name, takes) if name else ""
    return BatchFailed("mapping_invalid", detail, f"{near} {hint}".strip())


def _near(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name[:80], [each for each in names[:500] if len(each) <= 160], n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
    return ", ".join(shorten(name, 40) for name in names[:_MOST_TOLD]) + more
