"""Whether a batch's columns fit its model, as far as that can be told before it runs: mapping, pass-through, names.

A run looks again, at what is there then; here mistakes are told while somebody listens. The same rules as there: an
input is fed by what the mapping says, else by the column of its name or those of its places, else by position.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from api.nearest import hint
from api.validation import escaped
from core.errors import FieldProblem, InvalidField
from state.features import Signature, with_features
from state.jobs import Needs
from state.parts import check_part, find_part
from state.running import RunSpec
from state.tables import Version

MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Input:
    """An input of the model; `width` of a vector is -1 where it is free, and nothing of what is none."""

    name: str
    places: tuple[str, ...]
    width: int | None
    is_required: bool


def check_fit(spec: RunSpec, needs: Needs) -> None:
    """Raises `InvalidField` naming each member of the spec that does not fit the model or the dataset."""
    inputs = inputs_of(signature_of(needs.version, spec["part"]))
    columns = columns_of(needs)
    known = None if columns is None else frozenset(columns)  # both may be thousands
    # No more than are told: for each the nearest name is looked for.
    problems = list(
        islice(chain(_mapping_faults(spec, inputs, known), _pass_through_faults(spec, known)), MOST_PROBLEMS)
    )
    if not problems and columns is not None:
        problems = _unfed_faults(spec, inputs, columns)
    if problems:
        first = problems[0]
        message = f"'{first.pointer}' does not fit: {first.detail}" + (f"; {first.hint}" if first.hint else "")
        raise InvalidField(message, fields=problems)


def signature_of(version: Version, part: str | None) -> Signature:
    """That of a version, or of the part that is asked. Raises `InvalidField` where there is none."""
    whole = version.signature or {}
    if part is None:
        return with_features(whole, version.features)
    check_part(whole, part, f"version {version.number}")
    found: Signature = find_part(whole, part, f"version {version.number}")["signature"]
    return found


def inputs_of(signature: Signature) -> Mapping[str, Input]:
    """The inputs by their names, in their order."""
    found = {}
    for each in signature.get("inputs") or ():
        shape = each["shape"] if signature.get("batch") == "none" else each["shape"][1:]
        width = int(shape[0]) if len(shape) == 1 else None
        name, places = str(each["name"]), tuple(each.get("features") or ())
        found[name] = Input(name, places, width, bool(each.get("required", True)))
    return found


def columns_of(needs: Needs) -> Sequence[str] | None:
    """The dataset's columns in their order, where they are known and its rows are a table's."""
    dataset = needs.dataset
    if dataset is None or dataset.status != "ready" or dataset.kind != "table" or dataset.columns is None:
        return None
    return [str(column["name"]) for column in dataset.columns]


def _mapping_faults(
    spec: RunSpec, inputs: Mapping[str, Input], columns: Collection[str] | None
) -> Iterator[FieldProblem]:
    known = {*inputs, *(place for each in inputs.values() for place in each.places)}
    for name, wanted in (spec["mapping"] or {}).items():
        pointer = f"/mapping/{escaped(name[:100])}"
        if name not in known:
            yield FieldProblem(pointer, f"'{name[:60]}' is not an input of the model", hint(name, known))
            continue
        given = [wanted] if isinstance(wanted, str) else wanted
        missing = next((each for each in given if columns is not None and each not in columns), None)
        if missing is not None:
            yield FieldProblem(pointer, f"the dataset has no column '{missing[:60]}'", hint(missing, columns or ()))
        elif not isinstance(wanted, str) and (fault := _width_fault(inputs.get(name), len(wanted))) is not None:
            yield FieldProblem(pointer, fault, "map one column to an input, or one to each of its places")


def _width_fault(target: Input | None, count: int) -> str | None:
    if target is None or target.width is None:
        return f"{count} columns are given for what is no vector"
    if target.width not in (-1, count):
        return f"{count} columns are given for {target.width} places"
    return None


def _pass_through_faults(spec: RunSpec, columns: Collection[str] | None) -> Iterator[FieldProblem]:
    named = spec["pass_through"]
    if columns is None or not isinstance(named, list):
        return
    for at, name in enumerate(named):
        if name not in columns:
            yield FieldProblem(f"/pass_through/{at}", f"the dataset has no column '{name[:60]}'", hint(name, columns))


def _unfed_faults(spec: RunSpec, inputs: Mapping[str, Input], columns: Sequence[str]) -> list[FieldProblem]:
    """What the model needs and no column feeds."""
    mapping, known = spec["mapping"] or {}, frozenset(columns)
    lacking, is_fed = [], False
    for each in inputs.values():
        if each.name in mapping or (each.name in known and not any(place in mapping for place in each.places)):
            is_fed = True
            continue
        absent = [place for place in each.places if place not in mapping and place not in known]
        is_begun = len(absent) < len(each.places)
        is_fed |= is_begun
        if (each.is_required or is_begun) and (absent or not each.places):
            lacking += absent or [each.name]
    if not lacking or (not is_fed and fills_by_position(spec, inputs, columns)):
        return []
    return [
        FieldProblem("/mapping", f"no column feeds the model's '{name[:60]}'", hint(name, columns))
        for name in lacking[:MOST_PROBLEMS]
    ]


def fills_by_position(spec: RunSpec, inputs: Mapping[str, Input], columns: Sequence[str]) -> bool:
    """Whether the columns, or those that do not pass through, are as many as the only vector's nameless places."""
    if len(inputs) != 1 or spec["mapping"]:
        return False
    (only,) = inputs.values()
    named = spec["pass_through"]
    through = frozenset(named) if isinstance(named, list) else frozenset()
    return not only.places and only.width in (len(columns), sum(name not in through for name in columns))
