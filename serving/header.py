"""The columns of a table and the model's inputs: which column feeds which input, or which place of a vector."""

import difflib
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import chain, islice

from serving.features import FeatureNames, vector_width
from serving.problems import FieldErrors, shorten
from serving.signature import InputField, Signature

# An input's name: the index of its column, or those of its places. An input without a column is not in it.
Sources = Mapping[str, int | tuple[int, ...]]
MOST_KEPT, MOST_KEPT_COLUMNS = 16, 1000  # orders of columns that were asked before, each of so many
MOST_COMPARED = 500  # names that a wrong one is compared with, which takes some 10 µs for each


@dataclass(frozen=True, slots=True)
class Feed:
    """The input that a column belongs to, and whether the column is only one place of it."""

    field: InputField
    is_place: bool


class Header:
    """Reads the names of columns for one signature. Thread-safe: all that it keeps is what it would find again."""

    def __init__(self, signature: Signature, features: FeatureNames) -> None:
        self._fields = {field.name: field for field in signature.inputs}
        self._features = features
        self._required = [field.name for field in signature.inputs if field.required]
        self._compared = MOST_COMPARED
        self._found: dict[tuple[str, ...], Sources] = {}
        self._vector: str | None = None
        self._width = -1
        if len(signature.inputs) == 1 and not features:
            only = signature.inputs[0]
            self._vector, self._width = only.name, vector_width(only, signature) or -1

    def quiet(self) -> "Header":
        """The same that looks for no near names."""
        quiet = copy(self)
        quiet._compared = 0
        return quiet

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of a table that has no header, in their order; empty where the model does not name them."""
        return self._features.flat

    def sources(self, columns: Sequence[str]) -> Sources:
        """Which columns feed which input. Raises `Problem` 422 naming what is unknown, missing or there twice."""
        if self.fills_vector(columns):
            self._refuse_twice(columns)
            return {str(self._vector): tuple(range(len(columns)))}
        asked = tuple(columns)
        found = self._found.get(asked)
        if found is None:
            found = self._sources(columns)  # so their names are the model's own, and no longer than these
            if len(asked) <= MOST_KEPT_COLUMNS:
                if len(self._found) >= MOST_KEPT:
                    self._found.clear()
                self._found[asked] = found
        return found

    def _sources(self, columns: Sequence[str]) -> Sources:
        at = {name: index for index, name in enumerate(columns)}
        self._check(columns, at)
        found: dict[str, int | tuple[int, ...]] = {}
        for name in self._fields:
            places = self._features.places.get(name, ())
            if name in at:
                found[name] = at[name]
            elif places and places[0] in at:
                found[name] = tuple(at[place] for place in places)
        return found

    def feeds(self, columns: Sequence[str]) -> list[Feed]:
        """What each of a table's known columns belongs to. Raises `KeyError`."""
        if self.fills_vector(columns):
            return [Feed(self._fields[str(self._vector)], is_place=True)] * len(columns)
        return [self.feed(column) for column in columns]

    def feed(self, name: str) -> Feed:
        """What a known name belongs to. Raises `KeyError`."""
        whole = self._features.of_feature.get(name)
        return Feed(self._fields[name if whole is None else whole], is_place=whole is not None)

    def fills_vector(self, columns: Sequence[str]) -> bool:
        """Whether these columns fill the model's only input, a vector whose places have no names, by position."""
        return self._vector is not None and self._vector not in columns and self._width == len(columns)

    def unknown_hint(self, name: str) -> str:
        """The nearest input that the model does have."""
        candidates = islice(chain(self._features.flat, self._fields), self._compared)
        near = difflib.get_close_matches(name[:80], [each for each in candidates if len(each) <= 160], n=1)
        return f"did you mean {near[0]!r}?" if near else f"this model takes: {self.known()}"

    def known(self) -> str:
        """The model's inputs in words; of many the first twelve."""
        names = self._features.flat
        listed = ", ".join(shorten(name, 40) for name in names[:12])
        return listed + (f" and {len(names) - 12} more" if len(names) > 12 else "")

    def _check(self, columns: Sequence[str], at: Mapping[str, int]) -> None:
        errors = FieldErrors()
        seen: set[str] = set()
        for index, name in enumerate(columns):
            whole = self._features.of_feature.get(name, "")
            if name in seen:
                errors.add(f"/columns/{index}", f"{shorten(name)!r} is named twice")
            elif whole in at:
                errors.add(f"/columns/{index}", f"{shorten(name)!r} is a part of {shorten(whole)!r}, which is here too")
            elif not whole and name not in self._fields:
                detail = f"{shorten(name)!r} is not an input of this model"
                errors.add(f"/columns/{index}", detail, self.unknown_hint(name))
            if errors.is_full:
                break
            seen.add(name)
        for name in self._lacking(at):
            if errors.is_full:
                break
            errors.add("/columns", f"lacks the input {shorten(name)!r}", f"this model takes: {self.known()}")
        errors.raise_if_any()

    def _lacking(self, at: Mapping[str, int]) -> list[str]:
        lacking: list[str] = []
        for name in self._fields:
            places = self._features.places.get(name, ())
            absent = [place for place in places if place not in at]
            is_begun = len(absent) < len(places)
            if name not in at and (is_begun or name in self._required):
                lacking += absent if places else [name]
        return sorted(lacking)

    def _refuse_twice(self, columns: Sequence[str]) -> None:
        errors = FieldErrors()
        seen: set[str] = set()
        for index, name in enumerate(columns):
            if name in seen:
                errors.add(f"/columns/{index}", f"{shorten(name)!r} is named twice")
            if errors.is_full:
                break
            seen.add(name)
        errors.raise_if_any()
