"""A model file as every peer runs it: one session of ONNX Runtime with one thread, from rows to rows."""

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

ITEM_SHAPES = {"iris": (4,), "conv": (3, 32, 32)}  # of one row; the batch comes before it


class Model:
    """A loaded model with one input and one output, both FP32."""

    def __init__(self, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        onnxruntime.disable_telemetry_events()
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input = self._session.get_inputs()[0].name
        self.output = self._session.get_outputs()[0].name

    def run(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output for rows."""
        found: NDArray[np.float32] = self._session.run([self.output], {self.input: rows})[0]
        return found

    def run_lists(self, rows: list[Any]) -> list[Any]:
        """Likewise, from what JSON gives to what JSON takes."""
        found: list[Any] = self.run(np.asarray(rows, dtype=np.float32)).tolist()
        return found
