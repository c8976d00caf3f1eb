"""Signatures and loaded models for tests that need no engine: real implementations of the port, made in Python."""

from collections.abc import Callable

import numpy as np

from serving.engines.base import Columns
from serving.score import Identity, Scorer
from serving.signature import Algorithm, Batch, Datatype, Format, InputField, OutputField, Signature, Task

Predict = Callable[[Columns], Columns]
IDENTITY = Identity("iris", "iris", "flowers", "3")


class PythonModel:
    """A loaded model that is a Python function; remembers what it was asked."""

    execution_provider = "Python"

    def __init__(self, predict: Predict) -> None:
        self._predict = predict
        self.asked: list[Columns] = []

    def predict(self, columns: Columns) -> Columns:
        self.asked.append(columns)
        return self._predict(columns)

    def close(self) -> None:
        self.asked.clear()


def signature_of(
    inputs: tuple[InputField, ...],
    outputs: tuple[OutputField, ...] = (),
    *,
    task: Task = "tensor",
    batch: Batch = "stack",
    file_format: Format = "onnx",
    sample: dict[str, object] | None = None,
) -> Signature:
    """A signature of these fields, the rest of it unimportant."""
    return Signature(
        file_format, {}, "test", "1", "onnx_onnxv1", Algorithm("test", "test"), task, batch, inputs, outputs,
        sample=sample,
    )  # fmt: skip


def echo(columns: Columns) -> Columns:
    """Answer every input under its own name."""
    return columns


def echo_scorer(*inputs: InputField, batch: Batch = "stack") -> Scorer:
    """A scorer whose outputs are its inputs."""
    outputs = tuple(OutputField(field.name, field.datatype, field.shape) for field in inputs)
    return Scorer(signature_of(inputs, outputs, batch=batch), PythonModel(echo), IDENTITY)


def scalar(name: str, datatype: Datatype = "FP64") -> InputField:
    """A required input of one value per record."""
    return InputField(name, datatype, (-1,))


def double(columns: Columns) -> Columns:
    """Twice the input `x`, as the output `y`."""
    return {"y": np.asarray(columns["x"]) * 2}


def double_scorer(identity: Identity = IDENTITY) -> Scorer:
    """A scorer of a vector `x` of two numbers, that answers `y`, twice of it."""
    signature = signature_of((InputField("x", "FP32", (-1, 2)),), (OutputField("y", "FP32", (-1, 2)),))
    return Scorer(signature, PythonModel(double), identity)
