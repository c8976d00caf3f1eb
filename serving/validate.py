"""The validate step: a decoded prediction body to checked columns, by closures compiled from the signature once.

A body spells its inputs in one of three ways (records, a table, whole tensors); all end as the same engine calls.
"""

import difflib
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from serving.arrays import compile_array
from serving.columns import ABSENT, ColumnCheck, compile_column
from serving.datatypes import DTYPES, FLOATS
from serving.elements import describe_value
from serving.engines.base import Columns
from serving.features import compile_features
from serving.header import Header, Sources
from serving.layouts import Layouts
from serving.problems import FieldErrors, invalid_input, pointer_token, shorten
from serving.sample import record_shape
from serving.signature import Signature
from serving.typed import TypedColumn, Typing, assign

Form = Literal["record", "records", "table", "tensors"]
Values = Mapping[str, list[object]]
SPELLINGS = 'send {"inputs": …}, {"columns": […], "data": [[…]]} or {"tensors": {…}}'
NO_SUFFIXES: Mapping[str, str] = MappingProxyType({})
NO_COLUMNS: Columns = MappingProxyType({})
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
    # A vector's name: what the body calls each of its places.
    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    records: Sequence[object] = ()  # as they came, where each may name a vector or its places
    is_single: bool = False

    def renamed(self, pointer: str) -> str:
        """A pointer into a vector as one to the place's own name, where the body used names."""
        tokens = pointer.removeprefix(self.prefix).split("/")
        at = 1 if self.is_single else 2  # the first token is empty, then there is a record's index
        if len(tokens) <= at + 1 or not tokens[at + 1].isdecimal():
            return pointer
        for name, places in self.places.items():
            if tokens[at] == pointer_token(name) and not self._names_whole(name, tokens[1]):
                tokens[at : at + 2] = [pointer_token(places[int(tokens[at + 1])])]
                return self.prefix + "/".join(tokens)
        return pointer

    def _names_whole(self, name: str, index: str) -> bool:
        """Whether this record gave the vector itself."""
        if not self.records:
            return False
        record = self.records[0 if self.is_single else int(index)]
        return isinstance(record, dict) and name in record

    def pointer(self, name: str, index: int) -> str:
        if self.is_single:
            return f"{self.prefix}/{pointer_token(name)}"
        return f"{self.prefix}/{index}/{self.suffixes.get(name, pointer_token(name))}"


class Validator:
    """Checks prediction bodies for one signature. Thread-safe: it never changes, but for what it remembers of Arrow."""

    def __init__(self, signature: Signature) -> None:
        self._batch = signature.batch
        self._typing = Typing(passes_nan=signature.format == "onnx")
        self.takes_floats_only = all(field.datatype in FLOATS for field in signature.inputs)
        self._names = tuple(field.name for field in signature.inputs)
        self._name_set = frozenset(self._names)
        self._required = frozenset(field.name for field in signature.inputs if field.required)
        self._features = compile_features(signature)
        self._flat_set = frozenset(self._features.flat)
        self.header = Header(signature, self._features)
        self.layouts = Layouts()
        self._records = {
            field.name: compile_column(field, record_shape(field, signature)) for field in signature.inputs
        }
        self._tensors = {field.name: compile_column(field, field.shape) for field in signature.inputs}
        self._arrays = {field.name: compile_array(field) for field in signature.inputs}

    def quiet(self) -> "Validator":
        """The same without the nearest names in its hints, which take longest to find."""
        quiet = copy(self)
        quiet.header = self.header.quiet()
        return quiet

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
        if not flat and 0 in shape:
            return np.empty(shape, DTYPES[check.field.datatype])
        column = check.element.convert_all(flat)
        if column is None:
            errors = FieldErrors()
            scalar = ColumnCheck(check.field, (), check.element, check.element.convert_all, opens=False)
            column = scalar.column(flat, lambda index: f"/{pointer_token(name)}/{index}", errors)
            errors.raise_if_any()
        if column is None:
            raise invalid_input(f"/{pointer_token(name)}", "has no values", "leave the input out instead")
        return column.reshape(shape)

    def array(self, name: str, array: NDArray[np.generic]) -> None:
        """Check a whole tensor that has its input's dtype and shape already. Raises `Problem` 422."""
        check = self._arrays[name]
        if check is not None:
            check(array)

    def require(self, given: Mapping[str, NDArray[np.generic]], prefix: str) -> None:
        """Refuse tensors that lack a required input or disagree about the number of records."""
        if len(given) == len(self._names) == 1:
            return  # a column that is there has nothing to disagree with
        errors = FieldErrors()
        for name in self._names:
            if name in self._required and name not in given:
                errors.add(f"{prefix}/{pointer_token(name)}", "is missing", f"this model takes: {self._known()}")
        lengths = {name: column.shape[0] for name, column in given.items() if column.ndim}
        if self._batch == "stack" and len(set(lengths.values())) > 1:
            told = ", ".join(f"{shorten(name)} {length}" for name, length in lengths.items())
            errors.add(prefix, f"the inputs have different numbers of records: {told}", "send equally many of each")
        errors.raise_if_any()

    def takes_scalar(self, name: str) -> bool:
        """Whether one record's value is a plain value, with or without its list."""
        return self._records[name].shape in ((), (1,))

    def unknown_hint(self, name: str) -> str:
        """The nearest input that the model does have."""
        return self.header.unknown_hint(name)

    def _members(self, body: object) -> dict[str, object]:
        if not isinstance(body, dict):
            raise invalid_input("", f"is {describe_value(body)}; it must be an object", SPELLINGS)
        errors = FieldErrors()
        for name in body:
            if name not in MEMBERS:
                near = difflib.get_close_matches(name[:80], MEMBERS, n=1)
                hint = f"did you mean {near[0]!r}?" if near else SPELLINGS
                errors.add(f"/{pointer_token(name)}", "is not a member of a prediction request", hint)
            if errors.is_full:
                break
        errors.raise_if_any()
        spelled = [name for name in ("inputs", "columns", "data", "tensors") if name in body]
        if spelled not in (["inputs"], ["columns", "data"], ["tensors"]):
            given = f"it has {' and '.join(spelled)}" if spelled else "it is empty"
            raise invalid_input("", f"must spell its inputs in exactly one way; {given}", SPELLINGS)
        return cast("dict[str, object]", body)

    def _from_inputs(self, inputs: object) -> Question:
        if type(inputs) is dict:
            if inputs.keys() == self._name_set:
                quick = self._quick("record", 1, {name: [inputs[name]] for name in self._names})
                if quick is not None:
                    return quick
            return self._from_records("record", [inputs])
        if type(inputs) is not list:
            hint = f"an object with: {self._known()}"
            raise invalid_input("/inputs", f"is {describe_value(inputs)}; it must be one record or a list", hint)
        if not inputs:
            raise invalid_input("/inputs", "is an empty list", "send at least one record")
        return self._from_records("records", inputs)

    def _from_records(self, form: Form, records: list[object]) -> Question:
        is_single = form == "record"
        if all(type(record) is dict and record.keys() == self._name_set for record in records):
            alike = cast("list[dict[str, object]]", records)
            values = {name: [record[name] for record in alike] for name in self._names}
            quick = self._quick(form, len(records), values)
            return quick or self._question(
                form, len(records), _Table(values, "/inputs", NO_SUFFIXES, is_single=is_single)
            )
        if self._features and all(type(record) is dict and record.keys() == self._flat_set for record in records):
            values = self._joined(cast("list[dict[str, object]]", records))
        else:
            errors = FieldErrors()
            values = self._gathered(records, ("/inputs",) if is_single else None, errors)
            errors.raise_if_any()
        quick = self._quick(form, len(records), values)
        if quick is not None:
            return quick
        table = _Table(values, "/inputs", NO_SUFFIXES, self._features.places, records, is_single=is_single)
        return self._question(form, len(records), table)

    def _joined(self, records: list[dict[str, object]]) -> dict[str, list[object]]:
        """Columns of records that all spell their vectors by the names of their places."""
        values: dict[str, list[object]] = {}
        for name in self._names:
            places = self._features.places.get(name)
            if places is None:
                values[name] = [record[name] for record in records]
            else:
                values[name] = [[record[place] for place in places] for record in records]
        return values

    def _gathered(
        self, records: list[object], pointers: tuple[str, ...] | None, errors: FieldErrors
    ) -> dict[str, list[object]]:
        """Columns from records that are not all alike: unknown names are noted, lacking ones become `ABSENT`."""
        alike: list[dict[str, object]] = []
        for index, given in enumerate(records):
            if errors.is_full:
                break
            pointer = pointers[index] if pointers else f"/inputs/{index}"
            if not isinstance(given, dict):
                hint = f"write a record as an object with: {self._known()}"
                errors.add(pointer, f"is {describe_value(given)}; it must be an object", hint)
                continue
            record = self._features.joined(given, pointer, errors) if self._features else given
            for name in record.keys() - self._name_set:
                if errors.is_full:
                    break
                errors.add(f"{pointer}/{pointer_token(name)}", "is not an input of this model", self.unknown_hint(name))
            for name in self._required - record.keys():
                if errors.is_full:
                    break
                hint = f"this model takes: {self._known()}"
                errors.add(f"{pointer}/{pointer_token(name)}", "is missing", hint)
            alike.append(record)
        return {name: [record.get(name, ABSENT) for record in alike] for name in self._names}

    def _from_table(self, columns: object, data: object) -> Question:
        if not isinstance(columns, list) or not columns or not all(isinstance(name, str) for name in columns):
            raise invalid_input("/columns", "must be a list of input names", f"this model takes: {self._known()}")
        sources = self.header.sources(columns)
        if not isinstance(data, list) or not data:
            raise invalid_input("/data", "must be a list of rows with at least one row", SPELLINGS)
        errors = FieldErrors()
        for index, row in enumerate(data):
            if type(row) is not list:
                errors.add(f"/data/{index}", f"is {describe_value(row)}; it must be a list of {len(columns)} values")
            elif len(row) != len(columns):
                errors.add(f"/data/{index}", f"has {len(row)} values; `columns` names {len(columns)}")
            if errors.is_full:
                break
        errors.raise_if_any()
        return self._from_rows("table", sources, data, "/data", tuple(map(str, range(len(columns)))))

    def rows(self, form: Form, columns: list[str], data: list[list[object]]) -> Question:
        """Check rows that another spelling brought (CSV, a form), all as long as `columns`; pointers say names.

        Raises `Problem` 422.
        """
        sources = self.header.sources(columns)
        return self._from_rows(form, sources, data, "/inputs", tuple(columns))

    def typed(self, columns: Sequence[str], given: Sequence[TypedColumn], count: int) -> Question:
        """Check columns that came typed, of `count` rows each; pointers say names. Raises `Problem` 422."""
        assigned = assign(self._records, self.header.sources(columns), columns, given, self._typing)
        if self._batch == "stack" and len(assigned.ready) == len(self._names):
            return Question("table", count, ({name: assigned.ready[name] for name in self._names},))
        values = {
            name: assigned.values.get(name) or [ABSENT] * count for name in self._names if name not in assigned.ready
        }
        table = _Table(values, "/inputs", assigned.suffixes, assigned.places)
        return self._question("table", count, table, assigned.ready)

    def unseen(self, columns: Sequence[str], given: Sequence[TypedColumn]) -> Mapping[str, int] | None:
        """Which of these known columns each input is, where `typed` would pass any numbers in them as they are."""
        sources = self.header.sources(columns)
        found = {name: at for name, at in sources.items() if isinstance(at, int)}
        if self._batch != "stack" or len(found) < len(self._names):
            return None
        passes = all(self._typing.takes_unseen(self._records[name], given[at]) for name, at in found.items())
        return found if passes else None

    def _from_rows(
        self, form: Form, sources: Sources, data: list[list[object]], prefix: str, called: tuple[str, ...]
    ) -> Question:
        """`called` is what a pointer calls each column."""
        values: dict[str, list[object]] = {}
        suffixes: dict[str, str] = {}
        places: dict[str, tuple[str, ...]] = {}
        for name in self._names:
            source = sources.get(name)
            if source is None:
                values[name] = [ABSENT] * len(data)
            elif isinstance(source, int):
                values[name], suffixes[name] = [row[source] for row in data], pointer_token(called[source])
            else:
                values[name] = [[row[at] for at in source] for row in data]
                places[name] = tuple(called[at] for at in source)
        quick = self._quick(form, len(data), values)
        table = _Table(values, prefix, suffixes, places, is_single=form == "record")
        return quick or self._question(form, len(data), table)

    def _from_tensors(self, tensors: object) -> Question:
        if not isinstance(tensors, dict):
            raise invalid_input("/tensors", f"is {describe_value(tensors)}; it must be an object", SPELLINGS)
        errors = FieldErrors()
        call: dict[str, NDArray[np.generic]] = {}
        for name, value in tensors.items():
            if errors.is_full:
                break
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

    def _quick(self, form: Form, count: int, values: Values) -> Question | None:
        """The question where all values are plainly right, which most are."""
        if self._batch != "stack" and count != 1:
            return None
        call = self._fast_call(values)
        return None if call is None else Question(form, count, (call,))

    def _question(self, form: Form, count: int, table: _Table, ready: Columns = NO_COLUMNS) -> Question:
        """The question of a table that is looked at closely, but for the columns that are ready."""
        errors = FieldErrors(renamed=table.renamed) if table.places else FieldErrors()
        step = count if self._batch == "stack" else 1
        calls = [self._call(table, slice(begin, begin + step), errors, ready) for begin in range(0, count, step)]
        errors.raise_if_any()
        if not calls[0]:
            raise invalid_input(table.prefix, "gives no value for any input", f"this model takes: {self._known()}")
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

    def _call(self, table: _Table, part: slice, errors: FieldErrors, ready: Columns) -> Columns:
        call: dict[str, NDArray[np.generic]] = {}
        for name, check in self._records.items():
            if name in ready:
                known = ready[name][part]
                call[name] = known.reshape(known.shape[1:]) if self._batch == "none" else known
                continue

            def where(index: int, name: str = name) -> str:
                return table.pointer(name, part.start + index)

            column = check.column(table.values[name][part], where, errors)
            if column is not None:
                # A model without a record's dimension takes the value itself as its tensor.
                call[name] = column.reshape(column.shape[1:]) if self._batch == "none" else column
        return call

    def _known(self) -> str:
        return self.header.known()
