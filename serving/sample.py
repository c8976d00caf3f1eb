"""Make one record from a signature alone, for models that bring no sample of their own.

Whether the model likes it is only known once it has predicted, so there are several candidates, most likely first.
"""

import math
from collections.abc import Iterator

from serving.datatypes import FLOATS, INTEGERS, integer_range
from serving.signature import InputField, Interval, Scalar, Signature

# What stands for a free inner dimension: 1 suits most models; convolutions and poolings want an image's size.
FREE_SIZES = (1, 8, 32, 224)
MAX_VALUES = 4_000_000  # a sample is kept as JSON beside the version; beyond this a model is not sampled
TEMPORAL = {"date": "2024-01-01", "dateTime": "2024-01-01T12:00:00", "time": "12:00:00"}


def candidate_samples(signature: Signature) -> Iterator[dict[str, object]]:
    """Records in the form that `inputs` takes: the model's own sample, else made ones with growing free dimensions."""
    if signature.sample is not None:
        yield signature.sample
        return
    has_free = any(-1 in record_shape(field, signature) for field in signature.inputs)
    for size in FREE_SIZES if has_free else FREE_SIZES[:1]:
        shapes = {field.name: _sized(record_shape(field, signature), size) for field in signature.inputs}
        if sum(math.prod(shape) for shape in shapes.values()) <= MAX_VALUES:
            yield {
                field.name: _filled(shapes[field.name], likely_value(field))
                for field in signature.inputs
                if field.required or signature.format != "onnx"
            }


def record_shape(field: InputField, signature: Signature) -> tuple[int, ...]:
    """The shape of one record's value: without the record's dimension, unless the model has none."""
    return field.shape if signature.batch == "none" else field.shape[1:]


def likely_value(field: InputField) -> Scalar:
    """A value that the field surely allows and that most models find ordinary."""
    if field.values:
        return field.values[0]
    if field.datatype == "BOOL":
        return True
    if field.datatype in INTEGERS:
        low, high = integer_range(field.datatype)
        return min(max(int(_inside(field.intervals, whole=True)), low), high)
    if field.datatype in FLOATS:
        return float(_inside(field.intervals, whole=False))
    return TEMPORAL.get(field.logical_type or "", "a")


def _inside(intervals: tuple[Interval, ...] | None, *, whole: bool) -> float:
    """A number in the middle of the first interval, or near its finite end; 1 when there is none."""
    if not intervals:
        return 1.0
    low, high = intervals[0].min, intervals[0].max
    if low is not None and high is not None:
        middle = (low + high) / 2
        if not whole:
            return middle
        return math.floor(middle) if math.floor(middle) > low else math.ceil(middle)
    if low is not None:
        return math.floor(low) + 1
    return 1.0 if high is None else math.ceil(high) - 1


def _sized(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    return tuple(size if dimension < 0 else dimension for dimension in shape)


def _filled(shape: tuple[int, ...], value: Scalar) -> object:
    if shape in ((), (1,)):
        return value
    return [_filled(shape[1:], value) for _ in range(shape[0])]
