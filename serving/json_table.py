"""A large table of plain numbers in JSON, decoded straight to an array: half of the time of single values.

What is anything else, or is wrong, is left to the general way, so that there is one way to say what is wrong.
"""

from itertools import chain
from typing import Final

import msgspec
import numpy as np

from serving.problems import Problem
from serving.typed import TypedColumn
from serving.validate import Question, Validator

SMALLEST_BYTES: Final = 2048  # below, the general way costs no more
LONGEST_HEAD: Final = 20  # where the first name stands


class _Numbers(msgspec.Struct, forbid_unknown_fields=True):
    columns: list[str]
    data: list[list[float]]


_DECODER: Final = msgspec.json.Decoder(_Numbers)


def question_of(validator: Validator, body: bytes) -> Question | None:
    """What a body asks that is a table of numbers for a model that takes nothing else; `None` for any other."""
    if len(body) < SMALLEST_BYTES or not validator.takes_floats_only or b'"columns"' not in body[:LONGEST_HEAD]:
        return None
    try:
        table = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    width, count = len(table.columns), len(table.data)
    if not width or set(map(len, table.data)) != {width}:
        return None
    array = np.fromiter(chain.from_iterable(table.data), np.float64, count * width).reshape(count, width)
    try:
        return validator.typed(table.columns, [TypedColumn(column) for column in array.T], count)
    except Problem:
        return None
