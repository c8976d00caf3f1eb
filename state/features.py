"""Names for the places of a version's vector inputs: what its owner says comes before what its file says. Pure.

The contract with the model server is `features` of an input in the signature.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import FieldProblem, Json

Signature = Mapping[str, Any]
Features = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class _Vector:
    """`width` is -1 where the number of places is free."""

    name: str
    width: int


def effective_features(signature: Signature, said: Features | None) -> dict[str, list[str]] | None:
    """The names that hold for a version, by input."""
    if said is not None:
        return {name: list(places) for name, places in said.items()}
    written = {field["name"]: list(field["features"]) for field in _inputs(signature) if field.get("features")}
    return written or None


def with_features(signature: Signature, said: Features | None) -> dict[str, object]:
    """The signature that a model server is given."""
    if said is None:
        return dict(signature)
    inputs = [{**field, "features": said.get(field["name"]) or None} for field in _inputs(signature)]
    return {**signature, "inputs": inputs}


def named_sample(signature: Signature, said: Features | None) -> dict[str, Json] | None:
    """The sample record under the names that hold."""
    sample: Mapping[str, Json] | None = signature.get("sample")
    if sample is None:
        return None
    features = effective_features(signature, said) or {}
    record: dict[str, Json] = {}
    for name, value in sample.items():
        places = features.get(name)
        values = value if isinstance(value, list) else [value]  # one place may stand without its list
        if places and len(values) == len(places):
            record.update(zip(places, values, strict=True))
        else:
            record[name] = value
    return record


def features_fault(signature: Signature, said: Features) -> FieldProblem | None:
    """What of these names does not fit the inputs: each belongs to one place of one vector, and to nothing else."""
    inputs = {str(field["name"]): field for field in _inputs(signature)}
    vectors = {vector.name: vector for field in inputs.values() if (vector := _vector(signature, field)) is not None}
    taken: set[str] = set()
    for name, places in said.items():
        pointer = f"/features/{name.replace('~', '~0').replace('/', '~1')[:100]}"
        if name not in inputs:
            return FieldProblem(pointer, f"'{name[:60]}' is not an input of this model", _known(inputs))
        if name not in vectors:
            known = f"its vectors: {', '.join(vectors)}" if vectors else "this model has no vectors"
            return FieldProblem(pointer, f"the input '{name[:60]}' is not a vector: it has no places to name", known)
        width = vectors[name].width
        if width >= 0 and len(places) != width:
            return FieldProblem(pointer, f"{len(places)} names are given for {width} places", "name every place")
        for at, place in enumerate(places):
            if place in taken or place in inputs:
                what = "that of an input" if place in inputs else "given twice"
                return FieldProblem(f"{pointer}/{at}", f"the name '{place[:60]}' is {what}", "take another name")
            taken.add(place)
    return None


def _vector(signature: Signature, field: Mapping[str, Any]) -> _Vector | None:
    shape = field["shape"] if signature.get("batch") == "none" else field["shape"][1:]
    return _Vector(str(field["name"]), int(shape[0])) if len(shape) == 1 else None


def _inputs(signature: Signature) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = signature.get("inputs") or ()
    return found


def _known(inputs: Mapping[str, object]) -> str:
    names = list(inputs)
    return f"its inputs: {', '.join(names[:12])}" + (" …" if len(names) > 12 else "")
