"""Which execution providers run a model: chosen by a pure function, refused where a GPU cannot be used."""

import pytest

from serving.engines.base import InvalidModel
from serving.engines.providers import CPU, check_loaded, providers_for

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"


@pytest.mark.parametrize("available", [[CPU], ["AzureExecutionProvider", CPU], [TENSORRT, CUDA, CPU]])
def test_without_a_gpu_the_processor_runs_everything(available: list[str]) -> None:
    assert providers_for(0, available) == (CPU,)


@pytest.mark.parametrize(
    ("available", "chosen"),
    [
        ([TENSORRT, CUDA, CPU], (CUDA, TENSORRT, CPU)),
        ([CUDA, CPU], (CUDA, CPU)),
        ([TENSORRT, CPU], (TENSORRT, CPU)),
    ],
)
def test_with_a_gpu_cuda_comes_first_then_tensorrt_then_the_processor(
    available: list[str], chosen: tuple[str, ...]
) -> None:
    assert providers_for(1, available) == chosen


def test_a_runtime_without_gpu_providers_is_refused_by_name() -> None:
    with pytest.raises(InvalidModel, match=r"it has AzureExecutionProvider, CPUExecutionProvider") as refused:
        providers_for(2, ["AzureExecutionProvider", CPU])
    assert refused.value.code == "gpu_missing"


def test_a_silent_fall_back_to_the_processor_is_refused() -> None:
    check_loaded(0, [CPU])
    check_loaded(1, [CUDA, CPU])
    with pytest.raises(InvalidModel, match=r"onnxruntime has loaded CPUExecutionProvider$"):
        check_loaded(1, [CPU])
