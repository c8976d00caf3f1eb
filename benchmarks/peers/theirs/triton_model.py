"""A model of Triton's Python backend for a model file; without a file it gives back what it got."""

import json
from typing import Any

import triton_python_backend_utils as triton  # the backend puts it there

from benchmarks.peers.theirs.engine import Model


class TritonPythonModel:
    """What the backend looks for in a `model.py`."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the file that the configuration names."""
        configuration = json.loads(args["model_config"])
        self._input, self._output = configuration["input"][0]["name"], configuration["output"][0]["name"]
        path = configuration["parameters"]["path"]["string_value"]
        self._model = Model(path) if path else None

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        rows = triton.get_input_tensor_by_name(request, self._input).as_numpy()
        found = rows if self._model is None else self._model.run(rows)
        return triton.InferenceResponse([triton.Tensor(self._output, found)])
