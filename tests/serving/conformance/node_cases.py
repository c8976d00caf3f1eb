"""The node conformance data of the package onnx: every case as one model with the inputs of its one data set.

The wheel has no files of it; the package makes all cases in memory, which takes some seconds.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

# What a graph's input may be given as: an array, a list of arrays for a sequence, None for an optional one.
Feed = NDArray[np.generic] | list[NDArray[np.generic]] | None


@dataclass(frozen=True, slots=True)
class NodeCase:
    """A model and what it is asked."""

    name: str
    model: onnx.ModelProto
    feeds: Mapping[str, Feed]

    @property
    def carries_tensors(self) -> bool:
        """Whether all of its inputs and outputs are plain tensors."""
        values = [*self.model.graph.input, *self.model.graph.output]
        return all(value.type.WhichOneof("value") == "tensor_type" for value in values)


def node_cases() -> list[NodeCase]:
    """All cases, in the package's order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases compute their own expectations, infinities included
        return [
            NodeCase(case.name, case.model, _feeds(case.model, inputs))
            for case in collect_testcases(None)
            if case.model is not None
            for inputs, _ in case.data_sets or ()
        ]


def _feeds(model: onnx.ModelProto, inputs: Sequence[object]) -> dict[str, Feed]:
    return {value.name: _feed(given) for value, given in zip(model.graph.input, inputs, strict=False)}


def _feed(given: object) -> Feed:
    if isinstance(given, onnx.TensorProto):
        return cast("NDArray[np.generic]", numpy_helper.to_array(given))
    if given is None or isinstance(given, list):
        return given
    return np.asarray(given)
