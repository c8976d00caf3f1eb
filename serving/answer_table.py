"""A batch's answers as named columns, straight from the engine's: what tables in JSON, CSV and Arrow have in common.

The names are those that `Answers.table` makes of records, which is the same by another way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.answers import KEYS, SINGULAR, Answers, best_of, concatenated, flattened, grouped, labels_of, roles_of
from serving.engines.base import Columns
from serving.signature import OutputField, Role, Signature

PER_LABEL: tuple[Role, ...] = ("probability", "distance", "affinity")
SLOW: tuple[Role, ...] = ("anomaly", "rule")  # made of single values, record by record


@dataclass(frozen=True, slots=True)
class NamedColumn:
    """A value per record: an array whose first axis is the records', or a list where single values make it up."""

    name: str
    values: NDArray[np.generic] | list[object]

    def listed(self) -> list[object]:
        """The values as JSON has them."""
        if isinstance(self.values, list):
            return self.values
        values: list[object] = self.values.tolist()
        return values


Make = Callable[[Columns, int], list[NamedColumn]]


class AnswerTable:
    """Makes tables for one signature. Thread-safe: it never changes."""

    def __init__(self, signature: Signature, answers: Answers) -> None:
        self._answers = answers
        self._makes: tuple[Make, ...] | None
        if signature.task == "tensor":
            is_split = signature.batch != "none"
            self._makes = tuple(_tensor(field, is_split=is_split) for field in signature.outputs)
        else:
            self._makes = _plan(signature)

    def columns(self, outputs: Columns, count: int) -> list[NamedColumn]:
        """The columns of `count` answers. Raises `ValueError` where the engine's cannot be told apart by record."""
        if self._makes is None:
            return self.of_records(self._answers.records(outputs, count))
        made = {column.name: column for make in self._makes for column in make(outputs, count)}
        return list(made.values())

    def of_records(self, records: Sequence[dict[str, object] | None]) -> list[NamedColumn]:
        """The columns of these answers, with nothing in the place of one that there is not."""
        rows = [{} if record is None else self._answers.row(record) for record in records]
        names = dict.fromkeys(name for row in rows for name in row)
        return [NamedColumn(name, [row.get(name) for row in rows]) for name in names]


def joined(parts: Sequence[list[NamedColumn]]) -> list[NamedColumn]:
    """Tables below each other as one, each column in one datatype where it has one."""
    if len(parts) == 1:
        return parts[0]
    by_name = [{column.name: column for column in part} for part in parts]
    counts = [len(part[0].values) if part else 0 for part in parts]
    names = dict.fromkeys(name for part in by_name for name in part)
    return [NamedColumn(name, _stacked([part.get(name) for part in by_name], counts)) for name in names]


def rows_of(columns: Sequence[NamedColumn]) -> list[tuple[object, ...]]:
    """The rows of a table."""
    return list(zip(*(column.listed() for column in columns), strict=True))


def _stacked(columns: Sequence[NamedColumn | None], counts: Sequence[int]) -> NDArray[np.generic] | list[object]:
    arrays = [column.values for column in columns if column is not None and isinstance(column.values, np.ndarray)]
    if len(arrays) == len(columns) and len({(array.dtype, array.shape[1:]) for array in arrays}) == 1:
        return np.concatenate(arrays)
    values: list[object] = []
    for column, count in zip(columns, counts, strict=True):
        values += [None] * count if column is None else column.listed()
    return values


def _plan(signature: Signature) -> tuple[Make, ...] | None:
    """How each column is made, in the order in which an answer tells them; `None` where that needs single values."""
    by_role = roles_of(signature)
    if not by_role.keys().isdisjoint(SLOW):
        return None
    makes = [_of_role(role, by_role[role]) for role in KEYS if role in by_role]
    if "label" not in by_role and "probability" in by_role:
        makes.insert(0, _best("label", by_role["probability"], np.argmax))
    if "cluster" not in by_role and "distance" in by_role:
        makes.insert(0, _best("cluster", by_role["distance"], np.argmin))
    return tuple(makes)


def _of_role(role: Role, fields: list[OutputField]) -> Make:
    key = KEYS[role]
    name = SINGULAR.get(key, key)
    if role == "component":
        return _components(name, fields)
    if role == "field":
        return _each([_scalars("", (field.name,), field) for field in fields])
    groups = grouped(fields)
    if role in PER_LABEL:
        return _each([_labelled(name, (target,) if len(groups) > 1 else (), alike) for target, alike in groups.items()])
    if len(groups) == 1:
        return _scalars(name, (), fields[0])
    return _each([_scalars(name, (target,), alike[0]) for target, alike in groups.items()])


def _each(makes: list[Make]) -> Make:
    return lambda outputs, count: [column for make in makes for column in make(outputs, count)]


def _tensor(field: OutputField, *, is_split: bool) -> Make:
    def make(outputs: Columns, count: int) -> list[NamedColumn]:
        column = outputs[field.name]
        if is_split and column.ndim and column.shape[0] == count:
            return [NamedColumn(field.name, column)]
        # Whole in each record's row, in its own datatype: an array, of which nothing is copied here.
        return [NamedColumn(field.name, np.broadcast_to(column, (count, *column.shape)))]

    return make


def _components(name: str, fields: list[OutputField]) -> Make:
    def make(outputs: Columns, count: int) -> list[NamedColumn]:
        table = concatenated(fields, outputs, count)
        return [NamedColumn(f"{name}({index})", table[:, index]) for index in range(table.shape[1])]

    return make


def _labelled(name: str, path: tuple[str, ...], fields: list[OutputField]) -> Make:
    labels = labels_of(fields)

    def make(outputs: Columns, count: int) -> list[NamedColumn]:
        table = concatenated(fields, outputs, count)
        names = labels if len(labels) == table.shape[1] else tuple(map(str, range(table.shape[1])))
        return [NamedColumn(flattened(name, (*path, label)), table[:, at]) for at, label in enumerate(names)]

    return make


def _scalars(name: str, path: tuple[str, ...], field: OutputField) -> Make:
    labels = labels_of([field])

    def make(outputs: Columns, count: int) -> list[NamedColumn]:
        column = outputs[field.name]
        if column.size == count:
            return [NamedColumn(flattened(name, path), column.reshape(count))]
        rows = column.reshape(count, -1)
        if labels and len(labels) == rows.shape[1]:
            return [NamedColumn(flattened(name, (*path, label)), rows[:, at]) for at, label in enumerate(labels)]
        return [NamedColumn(flattened(name, path), rows)]

    return make


def _best(name: str, fields: list[OutputField], choose: Callable[[NDArray[np.generic], int], NDArray[np.intp]]) -> Make:
    values = best_of(fields, choose)
    targets = list(grouped(fields))
    if len(targets) == 1:
        return lambda outputs, count: [NamedColumn(name, values(outputs, count))]
    makes = [(flattened(name, (target,)), best_of(alike, choose)) for target, alike in grouped(fields).items()]
    return lambda outputs, count: [NamedColumn(called, one(outputs, count)) for called, one in makes]
