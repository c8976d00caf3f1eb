"""Decides from the declared shapes whether records can be stacked, must be looped over, or are the whole tensor."""

import re
from collections.abc import Mapping
from typing import cast, get_args

from serving.engines.base import InvalidModel
from serving.engines.onnx_types import TensorType
from serving.signature import Batch, Task

OVERRIDE_KEY = "portside.batch"

# Names that exporters make up for a dimension nobody named; two of them need not be different sizes.
_UNNAMED = re.compile(r"^(|\?|None|unk__\d+|.*batch.*|n|b|bs)$", re.IGNORECASE)
# A free first dimension of these names is not the record.
_INSIDE_A_RECORD = re.compile(r"seq|len|time|token|height|width|frame", re.IGNORECASE)


def batch_of(
    inputs: Mapping[str, TensorType], outputs: Mapping[str, TensorType], task: Task, metadata: Mapping[str, str]
) -> Batch:
    """`stack`, `loop` or `none`; the metadata key `portside.batch` overrides. Raises `InvalidModel` for a bad key."""
    wanted = metadata.get(OVERRIDE_KEY)
    if wanted is None:
        return _derived(inputs, outputs, task)
    if wanted not in get_args(Batch):
        message = f"the metadata key {OVERRIDE_KEY!r} is {wanted[:40]!r}; it may be stack, loop or none"
        raise InvalidModel("onnx_invalid_metadata", message, "Correct the key in metadata_props.")
    scalar = next((name for name, kind in inputs.items() if not kind.shape), None)
    if scalar is not None and wanted != "none":
        message = (
            f"the metadata key {OVERRIDE_KEY!r} is {wanted!r}, and the input {scalar!r} has no dimension for records"
        )
        raise InvalidModel("onnx_invalid_metadata", message, "Correct the key in metadata_props.")
    return cast("Batch", wanted)


def _derived(inputs: Mapping[str, TensorType], outputs: Mapping[str, TensorType], task: Task) -> Batch:
    if any(not kind.shape for kind in inputs.values()):
        return "none"
    first = {kind.shape[0] for kind in inputs.values()}
    if first == {1}:
        return "loop"
    if first != {-1}:
        return "none"
    names = {kind.symbols[0] for kind in inputs.values()}
    named = {name for name in names if not _UNNAMED.match(name)}
    if len(named) > 1 or any(_INSIDE_A_RECORD.search(name) for name in named):
        return "none"
    # An estimator answers per record whatever its exporter declares; another graph may reduce over its batch.
    if task == "tensor" and any(not kind.shape or kind.shape[0] != -1 for kind in outputs.values()):
        return "none"
    return "stack"
