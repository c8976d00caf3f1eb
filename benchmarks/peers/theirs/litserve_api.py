"""`python -m benchmarks.peers.theirs.litserve_api PORT FOLDER`: the models under LitServe, one worker for each."""

import sys
from pathlib import Path
from typing import Any

import litserve

from benchmarks.peers.theirs.engine import ITEM_SHAPES, Model


class OnnxApi(litserve.LitAPI):  # type: ignore[misc]  # not installed here
    """A model file behind a path of its own."""

    def __init__(self, path: str, name: str) -> None:
        super().__init__(api_path=f"/{name}")
        self._path = path

    def setup(self, device: str) -> None:
        """Load it, in the worker."""
        self._model = Model(self._path)

    def decode_request(self, request: dict[str, Any]) -> list[Any]:
        """The rows."""
        rows: list[Any] = request["inputs"]
        return rows

    def predict(self, x: list[Any]) -> list[Any]:
        """Run the model."""
        return self._model.run_lists(x)

    def encode_response(self, output: list[Any]) -> dict[str, list[Any]]:
        """The answer."""
        return {"outputs": output}


if __name__ == "__main__":
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    apis = [OnnxApi(str(folder / f"{name}.onnx"), name) for name in ITEM_SHAPES]
    server = litserve.LitServer(apis, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, num_api_servers=1, log_level="warning", generate_client_file=False)
