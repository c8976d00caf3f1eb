"""`python -m benchmarks.peers.theirs.fastapi_route PORT FOLDER`: a route as one writes it, on uvloop."""

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.peers.theirs.engine import ITEM_SHAPES, Model


class Rows(BaseModel):
    """One row or several."""

    inputs: list[list[float]]


class Images(BaseModel):
    """One image or several."""

    inputs: list[list[list[list[float]]]]


def make_app(folder: Path) -> FastAPI:
    """A route for each model."""
    app = FastAPI()
    iris, conv = (Model(str(folder / f"{name}.onnx")) for name in ITEM_SHAPES)

    @app.post("/iris")
    async def predict_iris(rows: Rows) -> dict[str, list[list[float]]]:
        return {"outputs": iris.run_lists(rows.inputs)}

    @app.post("/conv")
    async def predict_conv(images: Images) -> dict[str, list[list[float]]]:
        return {"outputs": conv.run_lists(images.inputs)}

    return app


if __name__ == "__main__":
    port, models = int(sys.argv[1]), Path(sys.argv[2])
    uvicorn.run(make_app(models), port=port, loop="uvloop", http="httptools", log_level="warning", access_log=False)
