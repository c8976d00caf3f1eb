"""An MLServer runtime for a model file: MLServer has none for ONNX of its own."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers.theirs.engine import Model


class OnnxRuntime(MLModel):  # type: ignore[misc]  # not installed here
    """A model file whose path is the model's `uri`."""

    async def load(self) -> bool:
        """Load it."""
        self._model = Model(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run the first tensor through it."""
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32, copy=False)
        output = NumpyCodec.encode_output(self._model.output, self._model.run(rows))
        return InferenceResponse(model_name=self.name, outputs=[output])
