"""The validate step: a decoded prediction body to checked columns, by closures compiled from the signature once.

A body spells its inputs in one of three ways (records, a table, whole tensors); all end as the same engine calls.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from serving.columns import ABSENT, ColumnCheck, compile_column
from serving.elements import describe_value
from serving.engines.base import Columns
from serving.problems import FieldErrors, invalid_input, pointer_token, shorten
from serving.sample import record_shape
from serving.signature import Signature

Form = Literal["record", "records", "table", "tensors"]
Values = Mapping[str, list[object]]
SPELLINGS = 'send {"inputs": …}, {"columns": […], "data": [[…]]} or {"tensors": {…}}'
NO_SUFFIXES: Mapping[str, str] = MappingProxyType({})
MEMBERS = ("inputs", "columns", "data", "tensors")


@dataclass(frozen=True, slots=True)
class Question:
    """A checked request: how it was spelled, how many records it asks about, and the engine calls that answer it."""

    form: Form
    records: int
    calls: tuple[Columns, ...]


@dataclass(frozen=True, slots=True)
class _Table:
    """Columns of values as they came, and how to point into the body: `pointers[name]` plus a record's index."""

    values: Values
    prefix: str
    suffixes: Mapping[str, str]
    is_single: bool = False

    def pointer(self, name: str, index: int) -> str:
        if self.is_single:
            return f"{self.prefix}/{pointer_token(name)}"
        inside = self.suffixes.get(name, pointer_token(name))
        return f"{self.prefix}/{index}/{inside}" if inside else f"{self.prefix}/{index}"


class Validator:
    """Checks prediction bodies for one signature. Thread-safe: it never changes."""

    def __init__(self, signature: Signature) -> None:
        self._batch = signature.batch
        self._names = tuple(field.name for field in signature.inputs)
        self._name_set = frozenset(self._names)
        self._required = frozenset(field.name for field in signature.inputs if field.required)
        self._records = {
            field.name: compile_column(field, record_shape(field, signature)) for field in signature.inputs
        }
        self._tensors = {field.name: compile_column(field, field.shape) for field in signature.inputs}

    def question(self, body: object) -> Question:
        """Check a decoded body. Raises `Problem` 422 that names every wrong value, up to a limit."""
        if type(body) is dict and len(body) == 1 and "inputs" in body:
            return self._from_inputs(body["inputs"])
        members = self._members(body)
        if "inputs" in members:
            return self._from_inputs(members["inputs"])
        if "tensors" in members:
            return self._from_tensors(members["tensors"])
        return self._from_table(members.get("columns"), members.get("data"))

    def tensor(self, name: str, flat: list[object], shape: tuple[int, ...]) -> NDArray[np.generic]:
        """One whole tensor from its flat values, for protocols that send shape and data apart."""
        check = self._tensors[name]
        column = check.element.convert_all(flat)
        if column is None:
            errors = FieldErrors()
            scalar = ColumnCheck(check.field, (), check.element, check.element.convert_all)
            column = scalar.column(flat, lambda index: f"/{pointer_token(name)}/{index}", errors)
            errors.raise_if_any()
        if column is None:
            raise invalid_input(f"/{pointer_token(name)}", "has no values", "leave the input out instead")
        return column.reshape(shape)

    def require(self, given: Mapping[str, NDArray[np.generic]], prefix: str) -> None:
        """Refuse tensors that lack a required input or disagree about the number of records."""
        errors = FieldErrors()
        for name in self._names:
            if name in self._required and name not in given:
                errors.add(f"{prefix}/{pointer_token(name)}", "is missing", f"this model takes: {self._known()}")
        lengths = {name: column.shape[0] for name, column in given.items() if column.ndim}
        if self._batch == "stack" and len(set(lengths.values())) > 1:
            told = ", ".join(f"{shorten(name)} {length}" for name, length in lengths.items())
            errors.add(prefix, f"the inputs have different numbers of records: {told}", "send equally many of each")
        errors.raise_if_any()

    def unknown_hint(self, name: str) -> str:
        """The nearest input that the model does have."""
        near = difflib.get_close_matches(name[:80], self._names, n=1)
        return f"did you mean {near[0]!r}?" if near else f"this model takes: {self._known()}"

    def _members(self, body: object) -> dict[str, object]:
        if not isinstance(body, dict):
            raise invalid_input("", f"is {describe_value(body)}; it must be an object", SPELLINGS)
        errors = FieldErrors()
        for name in body:
            if name not in MEMBERS:
                near = difflib.get_close_matches(name[:80], MEMBERS, n=1)
                hint = f"did you mean {near[0]!r}?" if near else SPELLINGS
                errors.add(f"/{pointer_token(name)}", "is not a member of a prediction request", hint)
        errors.raise_if_any()
        spelled = [name for name in ("inputs", "columns", "data", "tensors") if name in body]
        if spelled not in (["inputs"], ["columns", "data"], ["tensors"]):
            given = f"it has {' and '.join(spelled)}" if spelled else "it is empty"
            raise invalid_input("", f"must spell its inputs in exactly one way; {given}", SPELLINGS)
        return cast("dict[str, object]", body)

    def _from_inputs(self, inputs: object) -> Question:
        if type(inputs) is dict:
            if inputs.keys() == self._name_set:
                values = {name: [inputs[name]] for name in self._names}
            else:
                errors = FieldErrors()
                values = self._gathered([inputs], ("/inputs",), errors)
                errors.raise_if_any()
            return self._question("record", 1, values, "/inputs")
        if type(inputs) is not list:
            hint = f"an object with: {self._known()}"
            raise invalid_input("/inputs", f"is {describe_value(inputs)}; it must be one record or a list", hint)
        if not inputs:
            raise invalid_input("/inputs", "is an empty list", "send at least one record")
        if all(type(record) is dict and record.keys() == self._name_set for record in inputs):
            values = {name: [record[name] for record in inputs] for name in self._names}
        else:
            errors = FieldErrors()
            values = self._gathered(inputs, None, errors)
            errors.raise_if_any()
        return self._question("records", len(inputs), values, "/inputs")

    def _gathered(
        self, records: list[object], pointers: tuple[str, ...] | None, errors: FieldErrors
    ) -> dict[str, list[object]]:
        """Columns from records that are not all alike: unknown names are noted, lacking ones become `ABSENT`."""
        for index, record in enumerate(records):
            if errors.is_full:
                break
            pointer = pointers[index] if pointers else f"/inputs/{index}"
            if not isinstance(record, dict):
                hint = f"write a record as an object with: {self._known()}"
                errors.add(pointer, f"is {describe_value(record)}; it must be an object", hint)
                continue
            for name in record.keys() - self._name_set:
                errors.add(f"{pointer}/{pointer_token(name)}", "is not an input of this model", self.unknown_hint(name))
            for name in self._required - record.keys():
                hint = f"this model takes: {self._known()}"
                errors.add(f"{pointer}/{pointer_token(name)}", "is missing", hint)
        alike = [record for record in records if isinstance(record, dict)]
        return {name: [record.get(name, ABSENT) for record in alike] for name in self._names}

    def _from_table(self, columns: object, data: object) -> Question:
        names = self._header(columns)
        if not isinstance(data, list) or not data:
            raise invalid_input("/data", "must be a list of rows with at least one row", SPELLINGS)
        errors = FieldErrors()
        for index, row in enumerate(data):
            if type(row) is not list:
                errors.add(f"/data/{index}", f"is {describe_value(row)}; it must be a list of {len(names)} values")
            elif len(row) != len(names):
                errors.add(f"/data/{index}", f"has {len(row)} values; `columns` names {len(names)}")
            if errors.is_full:
                break
        errors.raise_if_any()
        vector = self._by_position(names)
        if vector:
            return self._question("table", len(data), {vector: data}, "/data", {vector: ""})
        values = {name: [row[at] for row in data] for at, name in enumerate(names)}
        absent: dict[str, list[object]] = {name: [ABSENT] * len(data) for name in self._names if name not in values}
        suffixes = {name: str(at) for at, name in enumerate(names)}
        return self._question("table", len(data), {**values, **absent}, "/data", suffixes)

    def _header(self, columns: object) -> list[str]:
        """The names in `columns`, which are inputs of the model, or as many as its only vector has places."""
        if not isinstance(columns, list) or not columns or not all(isinstance(name, str) for name in columns):
            raise invalid_input("/columns", "must be a list of input names", f"this model takes: {self._known()}")
        names = cast("list[str]", columns)
        errors = FieldErrors()
        seen: set[str] = set()
        is_vector = self._by_position(names) is not None
        for at, name in enumerate(names):
            if name in seen:
                errors.add(f"/columns/{at}", f"{shorten(name)!r} is named twice")
            elif name not in self._name_set and not is_vector:
                errors.add(
                    f"/columns/{at}", f"{shorten(name)!r} is not an input of this model", self.unknown_hint(name)
                )
            if errors.is_full:
                break
            seen.add(name)
        for name in () if is_vector else sorted(self._required.difference(names)):
            errors.add("/columns", f"lacks the input {shorten(name)!r}", f"this model takes: {self._known()}")
        errors.raise_if_any()
        return names

    def _by_position(self, names: list[str]) -> str | None:
        """The model's only input, when it is a vector that these columns fill place by place."""
        if len(self._names) != 1 or self._names[0] in names:
            return None
        return self._names[0] if self._records[self._names[0]].shape == (len(names),) else None

    def _from_tensors(self, tensors: object) -> Question:
        if not isinstance(tensors, dict):
            raise invalid_input("/tensors", f"is {describe_value(tensors)}; it must be an object", SPELLINGS)
        errors = FieldErrors()
        call: dict[str, NDArray[np.generic]] = {}
        for name, value in tensors.items():
            pointer = f"/tensors/{pointer_token(name)}"
            if name not in self._name_set:
                errors.add(pointer, "is not an input of this model", self.unknown_hint(name))
                continue
            column = self._tensors[name].column([value], lambda _, at=pointer: at, errors)  # type: ignore[misc]  # bound now
            if column is not None:
                call[name] = column[0] if isinstance(column[0], np.ndarray) else column.reshape(())
        errors.raise_if_any()
        self.require(call, "/tensors")
        return Question("tensors", 1, (call,))

    def _question(
        self, form: Form, count: int, values: Values, prefix: str, suffixes: Mapping[str, str] = NO_SUFFIXES
    ) -> Question:
        if self._batch == "stack" or count == 1:
            call = self._fast_call(values)
            if call is not None:
                return Question(form, count, (call,))
        table = _Table(values, prefix, suffixes, is_single=form == "record")
        errors = FieldErrors()
        step = count if self._batch == "stack" else 1
        calls = [self._call(table, slice(begin, begin + step), errors) for begin in range(0, count, step)]
        errors.raise_if_any()
        if not calls[0]:
            raise invalid_input(prefix, "gives no value for any input", f"this model takes: {self._known()}")
        return Question(form, count, tuple(calls))

    def _fast_call(self, values: Values) -> Columns | None:
        """The call of values that are all plainly right."""
        call: dict[str, NDArray[np.generic]] = {}
        for name, check in self._records.items():
            column = check.fast(values[name])
            if column is None:
                return None
            call[name] = column.reshape(column.shape[1:]) if self._batch == "none" else column
        return call

    def _call(self, table: _Table, part: slice, errors: FieldErrors) -> Columns:
        call: dict[str, NDArray[np.generic]] = {}
        for name, check in self._records.items():

            def where(index: int, name: str = name) -> str:
                return table.pointer(name, part.start + index)

            column = check.column(table.values[name][part], where, errors)
            if column is not None:
                # A model without a record's dimension takes the value itself as its tensor.
                call[name] = column.reshape(column.shape[1:]) if self._batch == "none" else column
        return call

    def _known(self) -> str:
        listed = ", ".join(shorten(name, 40) for name in self._names[:12])
        return listed + (f" and {len(self._names) - 12} more" if len(self._names) > 12 else "")
