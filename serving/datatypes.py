"""Open Inference Protocol datatypes as numpy dtypes, with what JSON may put into each."""

import numpy as np

from serving.signature import Datatype

DTYPES: dict[Datatype, np.dtype[np.generic]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "BF16": np.dtype(np.float32),  # numpy has no bfloat16; an engine that takes one narrows it itself
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(np.object_),
}
FLOATS: frozenset[Datatype] = frozenset({"FP16", "BF16", "FP32", "FP64"})
INTEGERS: frozenset[Datatype] = frozenset(
    {"UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"},
)
# Narrower than JSON's doubles in both directions: these travel as binary tensors only on /v2.
BINARY_ONLY: frozenset[Datatype] = frozenset({"FP16", "BF16"})


def integer_range(datatype: Datatype) -> tuple[int, int]:
    """The smallest and largest value of an integer datatype."""
    bits = DTYPES[datatype].itemsize * 8
    return (0, 2**bits - 1) if datatype.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def float_limit(datatype: Datatype) -> float:
    """The largest finite value of a floating datatype."""
    width = DTYPES[datatype].itemsize
    return float(np.finfo(np.float16 if width == 2 else np.float32 if width == 4 else np.float64).max)


def in_words(datatype: Datatype) -> str:
    """What a caller should send, as the end of a sentence that begins with "must be"."""
    if datatype == "BYTES":
        return "a string"
    if datatype == "BOOL":
        return "true or false"
    if datatype in INTEGERS:
        return "an integer"
    return "a number"
