"""Many values at once are taken, refused and converted as each of them is alone."""

import math

import numpy as np
import pytest

from serving.datatypes import DTYPES, FLOATS, float_limit
from serving.elements import Element, Unfit, compile_element
from serving.signature import Datatype, InputField

MANY = 700  # numbers of an image, say


def element_of(datatype: Datatype) -> Element:
    return compile_element(InputField("x", datatype, (-1, MANY)))


def takes(element: Element, value: object) -> bool:
    try:
        element.convert(value)
    except Unfit:
        return False
    return True


@pytest.mark.parametrize("datatype", sorted(FLOATS))
def test_many_floats_are_taken_where_each_is(datatype: Datatype) -> None:
    element, limit = element_of(datatype), float_limit(datatype)
    beyond = math.nextafter(limit, math.inf)
    for value in (0.1, limit, -limit, beyond, -beyond, math.inf, -math.inf, math.nan, 1, int(limit), int(limit) + 1):
        for place in (0, MANY - 1):
            values: list[object] = [0.5] * MANY
            values[place] = value
            assert (element.convert_all(values) is not None) == takes(element, value), (value, place)


@pytest.mark.parametrize("datatype", sorted(FLOATS))
def test_many_floats_are_rounded_as_each_is(datatype: Datatype) -> None:
    chance = np.random.default_rng(5)
    numbers = (chance.standard_normal(MANY) * 2.0 ** chance.integers(-30, 13, MANY)).tolist()
    found = element_of(datatype).convert_all(numbers)
    assert found is not None
    assert found.dtype == DTYPES[datatype]
    assert found.tobytes() == b"".join(np.array([number], DTYPES[datatype]).tobytes() for number in numbers)
