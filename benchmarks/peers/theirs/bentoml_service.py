"""The models as a BentoML service, served by `bentoml serve`; BENCH_MODELS names their folder."""

import os
from pathlib import Path
from typing import Any

import bentoml

from benchmarks.peers.theirs.engine import ITEM_SHAPES, Model


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Onnx:
    """A route for each model."""

    def __init__(self) -> None:
        folder = Path(os.environ["BENCH_MODELS"])
        self._models = {name: Model(str(folder / f"{name}.onnx")) for name in ITEM_SHAPES}

    @bentoml.api  # type: ignore[untyped-decorator]  # not installed here
    def iris(self, inputs: list[list[float]]) -> dict[str, list[Any]]:
        """Probabilities of rows."""
        return {"outputs": self._models["iris"].run_lists(inputs)}

    @bentoml.api  # type: ignore[untyped-decorator]  # not installed here
    def conv(self, inputs: list[list[list[list[float]]]]) -> dict[str, list[Any]]:
        """Scores of images."""
        return {"outputs": self._models["conv"].run_lists(inputs)}
