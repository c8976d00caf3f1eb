"""What a whole numpy array may hold, compiled from an input field: for protocols that bring values as typed bytes.

An array of the right dtype is judged as a whole; its values are looked at one by one only to say what is wrong.
"""

from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray

from serving.datatypes import DTYPES, FLOATS
from serving.elements import Unfit, compile_element
from serving.problems import FieldErrors, pointer_token
from serving.signature import InputField, Interval

ArrayCheck = Callable[[NDArray[np.generic]], None]
Bad = Callable[[NDArray[np.generic]], NDArray[np.bool_]]


def compile_array(field: InputField) -> ArrayCheck | None:
    """The check of an array that has the field's dtype; `None` where every such array is taken. Raises `Problem` 422.

    NaN is a number like another to a model that knows no missing values (ONNX), and a missing value to one that does.
    """
    tests = _tests(field)
    if not tests:
        return None
    convert, name = compile_element(field).convert, pointer_token(field.name)

    def check(array: NDArray[np.generic]) -> None:
        flat = array.reshape(-1)
        bad = tests[0](flat)
        for test in tests[1:]:
            bad |= test(flat)
        if not bad.any():
            return
        errors = FieldErrors()
        for index in np.flatnonzero(bad).tolist():
            try:
                _judge(flat[index].item(), convert)
            except Unfit as unfit:
                errors.add(f"/{name}/{index}", unfit.detail, unfit.hint)
            if errors.is_full:
                break
        errors.raise_if_any()

    return check


def _judge(value: object, convert: Callable[[object], object]) -> None:
    if value != value:
        raise Unfit("is NaN, which stands for a missing value", "this model needs a value here")
    convert(value)


def _tests(field: InputField) -> list[Bad]:
    if field.invalid is None or field.datatype == "BYTES":
        return []
    tests: list[Bad] = []
    is_float, may_miss = field.datatype in FLOATS, field.nullable or not field.required
    if is_float and not may_miss:
        tests.append(np.isnan)
    if field.invalid.treatment == "returnInvalid":
        if field.values:
            known = [value for value in field.values if not isinstance(value, str)]
            # 0.1 is another number in FP32 than in a file's text.
            allowed = np.array(known, DTYPES[field.datatype] if is_float else None)
            tests.append(lambda flat: ~(np.isin(flat, allowed) | _missing(flat, is_float=is_float)))
        if field.intervals:
            intervals = field.intervals
            tests.append(lambda flat: ~(_is_inside(flat, intervals) | _missing(flat, is_float=is_float)))
    return tests


def _missing(flat: NDArray[np.generic], *, is_float: bool) -> NDArray[np.bool_]:
    return np.isnan(flat) if is_float else np.zeros(flat.shape, np.bool_)


def _is_inside(flat: NDArray[np.generic], intervals: tuple[Interval, ...]) -> NDArray[np.bool_]:
    numbers, inside = cast("NDArray[np.float64]", flat), np.zeros(flat.shape, np.bool_)
    for each in intervals:
        within = np.ones(flat.shape, np.bool_)
        if each.min is not None:
            within &= numbers >= each.min if each.min_inclusive else numbers > each.min
        if each.max is not None:
            within &= numbers <= each.max if each.max_inclusive else numbers < each.max
        inside |= within
    return inside
