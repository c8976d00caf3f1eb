"""Filters as plain query parameters: `name.contains=iris`, `status.not.in=failed,deleted` (API.md section 1)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from api.nearest import hint
from core.clock import from_rfc3339
from core.errors import FieldProblem, InvalidField, UnknownField
from state.machines import Machine
from state.queries.lists import Comparison, Condition, Value

Plain = Literal["text", "time", "number", "flag"]


@dataclass(frozen=True, slots=True)
class OneOf:
    """A text that has one of these values: who asks for another one has mistyped it, and an empty list hides that."""

    values: tuple[str, ...]


Kind = Plain | OneOf

MOST_VALUES = 500
WHOLE = ("eq", "ne", "in")  # what compares with all of a value
ORDERED = ("eq", "ne", "gt", "ge", "lt", "le", "in")
POSSIBLE: Mapping[Plain, Sequence[str]] = {
    "text": ("eq", "ne", "contains", "prefix", "suffix", "in"),
    "time": ORDERED,
    "number": ORDERED,
    "flag": ("eq", "ne"),
}
WANTED: Mapping[Plain, str] = {
    "text": "text",
    "time": "an RFC 3339 time such as 2026-01-31T12:00:00Z",
    "number": "a whole number",
    "flag": "true or false",
}
SCHEMAS: Mapping[Plain, Mapping[str, str | int]] = {
    "text": {"type": "string"},
    "time": {"type": "string", "format": "date-time"},
    "number": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "flag": {"type": "boolean"},
}


def one_of(values: Iterable[str]) -> OneOf:
    """A field with these values."""
    return OneOf(tuple(map(str, values)))


def statuses(machine: Machine) -> OneOf:
    """The field `status` of what this machine moves."""
    return one_of(machine.statuses)


def schema_of(kind: Kind) -> Mapping[str, object]:
    """What a parameter of this kind is in the description of the API."""
    return {"type": "string", "enum": list(kind.values)} if isinstance(kind, OneOf) else SCHEMAS[kind]


def read_condition(parameter: str, given: str, fields: Mapping[str, Kind], known: Sequence[str]) -> Condition:
    """One query parameter as a condition. Raises `UnknownField`, `InvalidField`."""
    field, *rest = parameter.split(".")
    kind = fields.get(field)
    if kind is None:
        raise _unknown(parameter, f"there is no query parameter '{parameter[:100]}'", hint(field, known))
    negated = rest[:1] == ["not"]
    comparison = ".".join(rest[1:] if negated else rest) or "eq"
    possible = POSSIBLE["text" if isinstance(kind, OneOf) else kind]
    if comparison not in possible:
        raise _unknown(parameter, f"'{field}' cannot be compared by '{comparison[:100]}'", hint(comparison, possible))
    texts = given.split(",") if comparison == "in" else [given]
    if len(texts) > MOST_VALUES:
        detail = f"'{parameter}' takes at most {MOST_VALUES} values, not {len(texts)}"
        raise InvalidField(detail, fields=[FieldProblem(f"/{parameter}", detail)])
    if isinstance(kind, OneOf) and comparison in WHOLE:
        _check_known(parameter, texts, kind)
    values = tuple(_value(parameter, text, kind) for text in texts)
    for name in get_args(Comparison):
        if name == comparison:
            return Condition(field, name, values, negated)
    raise AssertionError(comparison)


def in_64_bits(number: int) -> int:
    """What an integer column can be compared with; raises ValueError beyond."""
    if not -(2**63) <= number < 2**63:
        raise ValueError("beyond 64 bits")
    return number


def _unknown(parameter: str, detail: str, what_next: str) -> UnknownField:
    return UnknownField(detail, fields=[FieldProblem(f"/{parameter[:100]}", detail, what_next)])


def _check_known(parameter: str, texts: Sequence[str], kind: OneOf) -> None:
    for text in texts:
        if text not in kind.values:
            detail = f"'{parameter}' has no value '{text[:100]}'"
            raise InvalidField(detail, fields=[FieldProblem(f"/{parameter}", detail, hint(text, kind.values))])


def _value(parameter: str, text: str, kind: Kind) -> Value:
    if isinstance(kind, OneOf):
        return text
    try:
        if kind == "time":
            return from_rfc3339(text.replace(" ", "+"))  # an unescaped + in a query is a space
        if kind == "number":
            return in_64_bits(int(text[:30]))
        if kind == "flag":
            return {"true": True, "false": False}[text]
    except (ValueError, KeyError, OverflowError) as error:
        detail = f"'{parameter}' takes {WANTED[kind]}, not '{text[:100]}'"
        raise InvalidField(detail, fields=[FieldProblem(f"/{parameter}", detail)]) from error
    return text
