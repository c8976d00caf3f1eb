"""The ONNX engine: models in the ONNX format, run by onnxruntime on the CPU.

Everything that knows onnx or onnxruntime stands in the `onnx_…` modules beside this one.
"""

from pathlib import Path

from serving.engines.base import InvalidModel, LoadedModel
from serving.engines.onnx_check import check
from serving.engines.onnx_describe import check_names, describe_model
from serving.engines.onnx_file import read_model
from serving.engines.onnx_forest import load_quick_session
from serving.engines.onnx_session import OnnxModel
from serving.signature import Signature


class OnnxEngine:
    """Describes and loads ONNX files."""

    def describe(self, path: Path) -> Signature:
        """Parse and check the file without running it."""
        try:
            model = read_model(path)
            check(model)
            signature = describe_model(model)
        except RecursionError as error:
            message = "the model nests its parts too deeply to be read"
            raise InvalidModel("onnx_invalid", message, "Export the model without that nesting.") from error
        check_names(signature)
        return signature

    def load(self, path: Path, signature: Signature, threads: int) -> LoadedModel:
        """Open a session with this many threads, or walk the trees that the model is with as many."""
        return OnnxModel(load_quick_session(path, threads), signature)
