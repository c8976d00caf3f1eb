"""The engine's output columns as answers: one shape per task, whichever format the model came in.

A plan is compiled from the signature's output roles once; each part turns columns into one value per record.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from serving.engines.base import Columns
from serving.signature import OutputField, Role, Scalar, Signature

Record = dict[str, object]
Values = Callable[[Columns, int], list[object]]

# In the order in which an answer tells them.
KEYS: dict[Role, str] = {
    "label": "label",
    "probability": "probabilities",
    "value": "value",
    "confidence": "confidence",
    "cluster": "cluster",
    "distance": "distances",
    "affinity": "affinities",
    "component": "components",
    "anomaly": "anomaly",
    "score": "score",
    "rule": "rules",
    "field": "fields",
}
# What a table calls one entry of these.
SINGULAR = {
    "probabilities": "probability",
    "distances": "distance",
    "affinities": "affinity",
    "components": "component",
    "fields": "",
}


@dataclass(frozen=True, slots=True)
class _Part:
    key: str
    values: Values


class Answers:
    """Makes answers for one signature. Thread-safe: it never changes."""

    def __init__(self, signature: Signature) -> None:
        self._is_tensor = signature.task == "tensor"
        self._parts = _tensor_plan(signature) if self._is_tensor else _plan(signature)
        self._keys = tuple(part.key for part in self._parts)

    def records(self, outputs: Columns, count: int) -> list[Record]:
        """One answer per record, from columns of `count` records."""
        values = [part.values(outputs, count) for part in self._parts]
        return [dict(zip(self._keys, each, strict=True)) for each in zip(*values, strict=True)]

    def row(self, record: Record) -> Record:
        """An answer as a row of a table, nested names flattened: `probability(setosa)`."""
        if self._is_tensor:
            return record
        row: Record = {}
        for key, value in record.items():
            _flatten(row, SINGULAR.get(key, key), (), value)
        return row


def _flatten(row: Record, name: str, path: tuple[str, ...], value: object) -> None:
    if isinstance(value, Mapping):
        for key, each in value.items():
            _flatten(row, name, (*path, str(key)), each)
    elif isinstance(value, list) and name == "component":
        row.update({f"component({index})": each for index, each in enumerate(value)})
    else:
        row[flattened(name, path)] = value


def flattened(name: str, path: tuple[str, ...]) -> str:
    """What a table calls the entry of an answer that is reached by these names."""
    if not name:
        return ", ".join(path)
    return f"{name}({', '.join(path)})" if path else name


def _tensor_plan(signature: Signature) -> tuple[_Part, ...]:
    is_split = signature.batch != "none"
    return tuple(_Part(field.name, _tensors(field.name, is_split=is_split)) for field in signature.outputs)


def _plan(signature: Signature) -> tuple[_Part, ...]:
    by_role = roles_of(signature)
    parts = [_Part(key, _role_values(role, by_role[role])) for role, key in KEYS.items() if role in by_role]
    if "label" not in by_role and "probability" in by_role:
        parts.insert(0, _Part("label", best_of(by_role["probability"], np.argmax)))
    if "cluster" not in by_role and "distance" in by_role:
        parts.insert(0, _Part("cluster", best_of(by_role["distance"], np.argmin)))
    return tuple(parts)


def roles_of(signature: Signature) -> dict[Role, list[OutputField]]:
    """The outputs by what they mean."""
    by_role: dict[Role, list[OutputField]] = {}
    for field in signature.outputs:
        by_role.setdefault(field.role, []).append(field)
    return by_role


def _role_values(role: Role, fields: list[OutputField]) -> Values:
    if role in ("probability", "distance", "affinity"):
        return _per_target(fields, _labelled)
    if role == "component":
        return lambda outputs, count: concatenated(fields, outputs, count).tolist()
    if role == "anomaly":
        return _per_target(fields, _anomalies)
    if role == "rule":
        return _rules(fields)
    if role == "field":
        return _named({field.name: _scalars(field) for field in fields})
    return _per_target(fields, lambda alike: _scalars(alike[0]))


def _per_target(fields: list[OutputField], make: Callable[[list[OutputField]], Values]) -> Values:
    """The plain value where the model has one target, else an object of one per target."""
    groups = grouped(fields)
    if len(groups) == 1:
        return make(fields)
    return _named({target: make(alike) for target, alike in groups.items()})


def grouped(fields: list[OutputField]) -> dict[str, list[OutputField]]:
    """Outputs of one role by their targets; without these each by itself, or together where they have labels."""
    groups: dict[str, list[OutputField]] = {}
    is_split = fields[0].role not in ("probability", "distance", "affinity")
    for field in fields:
        groups.setdefault(field.target or (field.name if is_split else ""), []).append(field)
    return groups


def _named(parts: Mapping[str, Values]) -> Values:
    names = tuple(parts)

    def values(outputs: Columns, count: int) -> list[object]:
        columns = [part(outputs, count) for part in parts.values()]
        return [dict(zip(names, each, strict=True)) for each in zip(*columns, strict=True)]

    return values


def _scalars(field: OutputField) -> Values:
    """One value per record; a record's list where the column has several, by label where these are named."""
    name, labels = field.name, tuple(map(label_key, field.labels or ()))

    def values(outputs: Columns, count: int) -> list[object]:
        column = outputs[name]
        if column.size == count:
            return column.reshape(count).tolist()
        rows: list[list[object]] = _rows(column, count).tolist()
        if labels and len(labels) == len(rows[0]):
            return [dict(zip(labels, row, strict=True)) for row in rows]
        return list(rows)

    return values


def _anomalies(fields: list[OutputField]) -> Values:
    field = fields[0]
    scalars = _scalars(field)
    # scikit-learn's outlier detectors say -1 for an outlier and 1 for an inlier; others say true or 1.
    is_signed = field.values is not None and -1 in field.values
    truths = {"true", "outlier", "anomaly", "1", "-1"}

    def is_anomaly(value: object) -> object:
        if isinstance(value, str):
            return value.lower() in truths
        if _is_nothing(value):
            return None
        return value == -1 if is_signed else bool(value)

    return lambda outputs, count: [is_anomaly(value) for value in scalars(outputs, count)]


def _rules(fields: list[OutputField]) -> Values:
    """A list of rules per record: each an object of its parts. An engine gives one rule, or a list of each part."""
    parts = _named({field.name: _scalars(field) for field in fields})

    def rules(record: object) -> object:
        named = cast("dict[str, object]", record)
        if any(isinstance(part, list) for part in named.values()):
            rows = zip(*(part if isinstance(part, list) else [part] for part in named.values()), strict=False)
            return [dict(zip(named, row, strict=True)) for row in rows]
        return [] if all(_is_nothing(part) for part in named.values()) else [named]

    return lambda outputs, count: [rules(record) for record in parts(outputs, count)]


def _is_nothing(value: object) -> bool:
    return value is None or value == "" or value != value  # the last is NaN


def _labelled(fields: list[OutputField]) -> Values:
    """An object per record: each label's number."""
    labels = labels_of(fields)

    def values(outputs: Columns, count: int) -> list[object]:
        rows: list[list[object]] = concatenated(fields, outputs, count).tolist()
        names = labels if len(labels) == len(rows[0]) else tuple(map(str, range(len(rows[0]))))
        return [dict(zip(names, row, strict=True)) for row in rows]

    return values


def best_of(fields: list[OutputField], choose: Callable[[NDArray[np.generic], int], NDArray[np.intp]]) -> Values:
    """The label with the best number, for models that do not tell it; per target, where there are several."""

    def make(alike: list[OutputField]) -> Values:
        labels = [label for field in alike for label in field.labels or ()]

        def values(outputs: Columns, count: int) -> list[object]:
            chosen: list[int] = choose(concatenated(alike, outputs, count), 1).tolist()
            return [labels[index] if index < len(labels) else index for index in chosen]

        return values

    return _per_target(fields, make)


def labels_of(fields: list[OutputField]) -> tuple[str, ...]:
    """What the last axes of these outputs count, as keys."""
    return tuple(label_key(label) for field in fields for label in field.labels or ())


def concatenated(fields: list[OutputField], outputs: Columns, count: int) -> NDArray[np.generic]:
    """These outputs beside each other: a row per record. Raises `ValueError` where they are not as many."""
    columns = [_rows(outputs[field.name], count) for field in fields]
    return columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)


def _rows(column: NDArray[np.generic], count: int) -> NDArray[np.generic]:
    return column.reshape(count, -1)


def _tensors(name: str, *, is_split: bool) -> Values:
    def values(outputs: Columns, count: int) -> list[object]:
        column = outputs[name]
        if is_split and column.ndim and column.shape[0] == count:
            return list(column.tolist())
        whole: object = column.tolist()
        return [whole] * count

    return values


def label_key(label: Scalar) -> str:
    """A class or cluster as an object's key, which JSON wants to be a string."""
    if isinstance(label, bool):
        return "true" if label else "false"
    return str(label)
