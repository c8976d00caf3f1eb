"""The port between the model server and a model format: describe a file, load it, predict columns.

A *column* is a numpy array whose first axis is the record (where the signature's `batch` is `stack`).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from serving.signature import Signature

Columns = Mapping[str, NDArray[np.generic]]


class InvalidModel(Exception):
    """The file cannot be served, and its author can do something about it.

    `code` is a stable snake_case word, `message` says what and where, `hint` what to do next.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


class PredictionRefused(Exception):
    """The engine refuses this input although it matches the signature; a caller's error (422), never a 500."""


class LoadedModel(Protocol):
    """A model in memory. `predict` is thread-safe."""

    @property
    def execution_provider(self) -> str:
        """What runs it: one of onnxruntime's execution providers, or a runtime of its own."""
        ...

    def predict(self, columns: Columns) -> Columns:
        """Answer the signature's outputs, by name, for the given inputs, by name.

        Tensors keep every dimension; BYTES are object arrays of `str`; a missing value is NaN in a floating column
        and `None` in an object column. Raises `PredictionRefused`.
        """
        ...

    def close(self) -> None:
        """Free what the model holds."""
        ...


Texts = Sequence[NDArray[np.generic]]


@runtime_checkable
class BindableModel(Protocol):
    """A model that can read its inputs from the same memory each time, and write its outputs to the same."""

    def bind(self, inputs: Columns, outputs: Columns, texts: Sequence[str]) -> Callable[[], Texts]:
        """A function that runs the model from these arrays into those, and returns the outputs named by `texts`,
        which have no memory of their own. It is no thread's but its maker's. Both raise `PredictionRefused`."""
        ...


@runtime_checkable
class GroupingModel(Protocol):
    """A model that answers a record by the ones before it of the same group, where they are asked together."""

    @property
    def group(self) -> str | None:
        """The input that says to which group a record belongs; nothing where each is answered by itself."""
        ...


class Engine(Protocol):
    """Loads and runs one format."""

    def describe(self, path: Path) -> Signature:
        """Read the file without running it and say what it is. Raises `InvalidModel`."""
        ...

    def load(self, path: Path, signature: Signature, threads: int) -> LoadedModel:
        """Make the model ready to answer. Raises `InvalidModel` when the runtime refuses it."""
        ...
