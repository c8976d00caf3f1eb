"""Names for the places of a vector input: what records, tables and forms may use instead of the raw list.

A version may carry `{"float_input": ["sepal_length", …]}`; the raw input stays accepted beside them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from serving.columns import ABSENT
from serving.problems import FieldErrors, pointer_token, shorten
from serving.signature import InputField, Signature

MOST_FEATURES = 10_000  # names of one input; a record with more is a tensor, not a table


class UnfitFeatures(ValueError):
    """Feature names that do not fit the model's inputs; the message says which and why."""


def check_features(features: Mapping[str, tuple[str, ...]], signature: Signature) -> None:
    """Raise `UnfitFeatures` unless each name belongs to one place of one vector input and to nothing else."""
    inputs = {field.name: field for field in signature.inputs}
    taken: set[str] = set()
    for name, places in features.items():
        field = inputs.get(name)
        if field is None:
            raise UnfitFeatures(f"{shorten(name)!r} is not an input of this model")
        width = vector_width(field, signature)
        if width is None:
            raise UnfitFeatures(f"the input {shorten(name)!r} is not a vector: it has no places to name")
        if not places or len(places) > MOST_FEATURES or (width >= 0 and len(places) != width):
            expected = f"{width} places" if width >= 0 else f"1 to {MOST_FEATURES} places"
            raise UnfitFeatures(f"{len(places)} names are given for the input {shorten(name)!r}, which has {expected}")
        for place in places:
            if not place or place in taken or place in inputs:
                raise UnfitFeatures(f"the name {shorten(place)!r} is empty, given twice, or that of an input")
            taken.add(place)


def with_names(signature: Signature, features: Mapping[str, tuple[str, ...]]) -> Signature:
    """The signature whose inputs carry these names. Raises `UnfitFeatures`."""
    check_features(features, signature)
    return replace(
        signature, inputs=tuple(replace(each, features=features.get(each.name)) for each in signature.inputs)
    )


def vector_width(field: InputField, signature: Signature) -> int | None:
    """How many places one record's value has, -1 where that is free; `None` for what is no vector."""
    shape = field.shape if signature.batch == "none" else field.shape[1:]
    return shape[0] if len(shape) == 1 else None


@dataclass(frozen=True, slots=True)
class FeatureNames:
    """The compiled names of one signature; falsy when it has none."""

    places: Mapping[str, tuple[str, ...]]
    flat: tuple[str, ...]  # what a record may have: features where there are some, else the input's own name
    of_feature: Mapping[str, str]

    def __bool__(self) -> bool:
        return bool(self.places)

    def joined(self, record: dict[str, object], pointer: str, errors: FieldErrors) -> dict[str, object]:
        """The record with vectors in place of their features; what is missing or told twice is noted."""
        if record.keys().isdisjoint(self.of_feature):
            return record
        raw = {name: value for name, value in record.items() if name not in self.of_feature}
        for name, places in self.places.items():
            given = [place for place in places if place in record]
            if not given:
                continue
            if name in record:
                hint = f"leave out either {shorten(name)!r} or its features"
                errors.add(f"{pointer}/{pointer_token(name)}", "is given as a whole and by its features", hint)
                continue
            if len(given) < len(places):
                for place in places:
                    if errors.is_full:
                        break
                    if place not in record:
                        hint = f"the input {shorten(name)!r} has these places: {', '.join(map(shorten, places[:12]))}"
                        errors.add(f"{pointer}/{pointer_token(place)}", "is missing", hint)
                raw[name] = ABSENT
                continue
            raw[name] = [record[place] for place in places]
        return raw


def compile_features(signature: Signature) -> FeatureNames:
    """The names that a signature's inputs carry."""
    places = {field.name: field.features for field in signature.inputs if field.features}
    flat = [place for field in signature.inputs for place in (field.features or (field.name,))]
    of_feature = {place: name for name, names in places.items() for place in names}
    return FeatureNames(places, tuple(flat), of_feature)
