"""What goes into a model and what comes out of it, as the constants of a script: the same names and order as a run's.

An output becomes columns as `serving.answer_table` says; here that is written down as data.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

from api.scripts.plan import ScriptPlan, ScriptUnsupported
from core.errors import Json

Field = Mapping[str, Json]
# What a table calls an output of this role, in the order in which an answer tells them.
KEYS: Final = {
    "label": "label",
    "probability": "probability",
    "value": "value",
    "confidence": "confidence",
    "cluster": "cluster",
    "distance": "distance",
    "affinity": "affinity",
    "component": "component",
    "anomaly": "anomaly",
    "score": "score",
    "rule": "rules",
    "field": "",
}
LABELLED: Final = ("probability", "distance", "affinity")
BEST: Final = (("label", "probability", "most"), ("cluster", "distance", "least"))  # each in front of what is there
WIDEST_SPLIT: Final = 64  # as in `serving.batch.writing`
MOMENTS: Final = ("date", "time", "dateTime")

# How a column is made (`told` of the script), what it is called, of which outputs, and the names of its places.
Answer = tuple[str, str, list[str], list[Json]]


def answers_of(plan: ScriptPlan) -> list[Answer]:
    """How the outputs become columns, in their order."""
    if plan.task == "tensor":
        return [("whole", str(each["name"]), [str(each["name"])], []) for each in plan.outputs]
    by_role: dict[str, list[Field]] = {}
    for each in plan.outputs:
        by_role.setdefault(str(each.get("role") or "field"), []).append(each)
    found = [answer for role in KEYS if role in by_role for answer in _of_role(role, by_role[role])]
    for called, role, how in BEST:
        if called not in by_role and role in by_role:
            found = [*_best(called, how, by_role[role]), *found]
    return found


def vectors_of(plan: ScriptPlan) -> dict[str, int]:
    """The columns whose values are vectors of one length, which CSV has a column for each place of."""
    shapes = {str(each["name"]): _shape(each["shape"])[1:] for each in plan.outputs}
    if any(size < 0 for shape in shapes.values() for size in shape) or {"anomaly", "rule"} & _roles(plan):
        return {}
    if plan.batch == "none":
        shapes = {str(each["name"]): _shape(each["shape"]) for each in plan.outputs}
    found = {}
    for how, called, names, columns in answers_of(plan):
        shape = shapes[names[0]]
        is_one = how == "whole" or (how == "one" and shape != [1] and len(columns) not in shape)
        if is_one and len(shape) == 1 and 0 < shape[0] <= WIDEST_SPLIT:
            found[called] = shape[0]
    return found


def inputs_of(plan: ScriptPlan) -> list[tuple[str, str, str | list[str], list[int]]]:
    """Each input that is fed: its name, datatype, column or columns, and the shape of one row's value."""
    found: list[tuple[str, str, str | list[str], list[int]]] = []
    for each in plan.inputs:
        name, datatype = str(each["name"]), str(each["datatype"])
        shape = _shape(each["shape"])[0 if plan.batch == "none" else 1 :]
        columns = _columns(each, plan)
        if columns is None:
            continue
        if datatype == "BF16":
            raise ScriptUnsupported(
                f"the input {name!r} is BF16, which numpy has not; ask for the script against the API"
            )
        if isinstance(columns, str):
            found.append((name, datatype, columns, shape))
        elif len(shape) > 1:
            raise ScriptUnsupported(f"the input {name!r} takes whole arrays, and not {len(columns)} columns")
        else:
            found.append((name, datatype, list(columns) if shape else columns[0], [len(columns)] if shape else []))
    return found


def nullable(plan: ScriptPlan) -> list[str]:
    """The inputs that may miss a value."""
    may_miss = (each for each in plan.inputs if each.get("nullable") or each.get("required") is False)
    return sorted(str(each["name"]) for each in may_miss)


def domains(plan: ScriptPlan) -> dict[str, tuple[list[Json], list[tuple[Json, Json, bool, bool]]]]:
    """The values and ranges outside of which an input is refused, as `serving.elements` refuses them."""
    found = {}
    for each in plan.inputs:
        invalid = cast("Field", each.get("invalid") or {})
        if invalid.get("treatment") != "returnInvalid":
            continue
        intervals = cast("Sequence[Field]", each.get("intervals") or ())
        ranges = [
            (
                told.get("min"),
                told.get("max"),
                told.get("min_inclusive", True) is True,
                told.get("max_inclusive", True) is True,
            )
            for told in intervals
        ]
        values = list(cast("Sequence[Json]", each.get("values") or ()))
        if values or ranges:
            found[str(each["name"])] = (values, ranges)
    return found


def moments(plan: ScriptPlan) -> dict[str, str]:
    """The inputs that are dates or times."""
    return {str(each["name"]): str(each["logical_type"]) for each in plan.inputs if each.get("logical_type") in MOMENTS}


def targets_of(plan: ScriptPlan) -> dict[str, str]:
    """Which target an output is about, where there are several."""
    told = {
        str(each["target"]) for each in plan.outputs if each.get("role") in ("label", "value") and each.get("target")
    }
    return {str(each["name"]): str(each.get("target") or "") for each in plan.outputs} if len(told) > 1 else {}


def feeds_of(plan: ScriptPlan) -> dict[str, str | list[str]]:
    """The columns of the table that a service is asked with, each with the column or columns that fill it."""
    feeds: dict[str, str | list[str]] = {}
    for name, column in plan.feeds.items():
        if isinstance(column, str):
            feeds[name] = column
        elif _fills_by_position(plan, len(column)):
            feeds |= {f"{name}({at})": each for at, each in enumerate(column)}
        else:
            feeds[name] = list(column)  # as a list in one cell
    return feeds


def labels(field: Field) -> list[Json]:
    """What the last axis of an output counts."""
    return list(cast("Sequence[Json]", field.get("labels") or ()))


def _fills_by_position(plan: ScriptPlan, width: int) -> bool:
    """Whether so many columns are the places of the model's only input, which have no names."""
    shape = _shape(plan.inputs[0]["shape"])[0 if plan.batch == "none" else 1 :]
    return len(plan.inputs) == 1 and not plan.inputs[0].get("features") and shape == [width]


def _columns(field: Field, plan: ScriptPlan) -> str | Sequence[str] | None:
    """The columns that fill an input; nothing for one that nothing feeds."""
    fed = plan.feeds.get(str(field["name"]))
    if fed is not None:
        return fed
    places = [str(each) for each in cast("Sequence[Json]", field.get("features") or ())]
    if not any(place in plan.feeds for place in places):
        return None
    return [str(plan.feeds[place]) for place in places]


def _of_role(role: str, fields: Sequence[Field]) -> Iterator[Answer]:
    if role == "component":
        yield "each", "component(", _names(fields), []
    elif role == "rule":
        yield "rules", "rules", _names(fields), []
    elif role == "field":
        yield from (_one("one", "", (str(each["name"]),), each) for each in fields)
    else:
        groups = _grouped(role, fields)
        for target, alike in groups.items():
            path = (target,) if len(groups) > 1 else ()
            if role in LABELLED:
                places = [_word(label) for each in alike for label in labels(each)]
                names: list[Json] = [_called(KEYS[role], (*path, place)) for place in places]
                yield "each", _called(KEYS[role], (*path, ""))[:-1], _names(alike), names
            elif role == "anomaly":
                values = cast("Sequence[Json]", alike[0].get("values") or ())
                yield _one("negative" if -1 in values else "positive", KEYS[role], path, alike[0])
            else:
                yield _one("one", KEYS[role], path, alike[0])


def _one(how: str, key: str, path: tuple[str, ...], field: Field) -> Answer:
    names: list[Json] = [_called(key, (*path, _word(label))) for label in labels(field)]
    return how, _called(key, path), [str(field["name"])], names


def _best(called: str, how: str, fields: Sequence[Field]) -> Iterator[Answer]:
    """What is found in what the model answers: the most likely label, the nearest cluster."""
    groups = _grouped("probability", fields)
    for target, alike in groups.items():
        path = (target,) if len(groups) > 1 else ()
        yield how, _called(called, path), _names(alike), [label for each in alike for label in labels(each)]


def _grouped(role: str, fields: Sequence[Field]) -> dict[str, list[Field]]:
    groups: dict[str, list[Field]] = {}
    for each in fields:
        alone = "" if role in LABELLED else str(each["name"])
        groups.setdefault(str(each.get("target") or alone), []).append(each)
    return groups


def _names(fields: Sequence[Field]) -> list[str]:
    return [str(each["name"]) for each in fields]


def _called(key: str, path: tuple[str, ...]) -> str:
    if not key:
        return ", ".join(path)
    return f"{key}({', '.join(path)})" if path else key


def _word(label: Json) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)


def _roles(plan: ScriptPlan) -> set[str]:
    return {str(each.get("role")) for each in plan.outputs}


def _shape(told: Json) -> list[int]:
    return [int(cast("int", size)) for size in cast("Sequence[Json]", told)]
