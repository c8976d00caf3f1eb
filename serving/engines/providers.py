"""Which of onnxruntime's execution providers run a model: those of a GPU where one was asked for, else the processor.

A GPU that was asked for and does not work ends the load: a model that silently runs on the processor would be slow, and
nobody would know why.
"""

import os
from collections.abc import Sequence

from serving.engines.base import InvalidModel

GPUS_VARIABLE = "PORTSIDE_GPUS"
CPU = "CPUExecutionProvider"
# CUDA first: TensorRT builds its engines for minutes at a start, and rounds differently.
OF_GPUS = ("CUDAExecutionProvider", "TensorrtExecutionProvider")


def gpus_asked_for() -> int:
    """How many GPUs this process was started with."""
    given = os.environ.get(GPUS_VARIABLE, "")
    return int(given) if given.isdigit() else 0


def providers_for(gpus: int, available: Sequence[str]) -> tuple[str, ...]:
    """What a session asks for, in order; the processor runs what a GPU has no kernel for. Raises `InvalidModel`."""
    if gpus < 1:
        return (CPU,)
    found = tuple(provider for provider in OF_GPUS if provider in available)
    if not found:
        raise no_gpu(f"this onnxruntime is built without {' and '.join(OF_GPUS)}; it has {', '.join(available)}")
    return (*found, CPU)


def check_loaded(gpus: int, loaded: Sequence[str]) -> None:
    """Raise `InvalidModel` where a GPU was asked for and onnxruntime fell back to the processor."""
    if gpus > 0 and not any(provider in OF_GPUS for provider in loaded):
        raise no_gpu(f"none of {' and '.join(OF_GPUS)} could be loaded; onnxruntime has loaded {', '.join(loaded)}")


def no_gpu(why: str) -> InvalidModel:
    """The refusal of a model that should run on a GPU."""
    hint = "Run the model server where a GPU, its driver and its libraries are, or ask for no GPU."
    return InvalidModel("gpu_missing", f"a GPU was asked for and none can be used: {why}", hint)
