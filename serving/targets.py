"""Request targets: what paths a model answers at, by its name and the key of a part."""

from enum import IntEnum

DEFAULT = ""  # the key of what answers where no part is named


class Surface(IntEnum):
    """What a request target is of: our own route, the tensor protocol, KServe's V1 (see `native/source/model.hpp`)."""

    PREDICT, INFER, KSERVE = range(3)


def predict_paths(name: str, part: str) -> list[bytes]:
    """Where predictions are asked: on the replica's own, and as the platform has it."""
    at = "" if part == DEFAULT else f"/parts/{part}"
    return [f"{at}/predict".encode(), f"/api/v1/services/{name}{at}/predict".encode()]


def model_paths(name: str, version: str, part: str) -> list[str]:
    """What the tensor protocol calls a model: the default one also without its version."""
    model = f"/v2/models/{name}"
    return [model, f"{model}/versions/{version}"] if part == DEFAULT else [f"{model}/versions/{part}"]


def prediction_targets(name: str, version: str, part: str) -> dict[bytes, Surface]:
    """Where a model is asked for predictions."""
    paths = model_paths(name, version, part)
    infer = [f"{path}/infer".encode() for path in paths]
    instances = [f"{path}:predict".replace("/v2/", "/v1/", 1).encode() for path in paths]
    return {
        **dict.fromkeys(predict_paths(name, part), Surface.PREDICT),
        **dict.fromkeys(infer, Surface.INFER),
        **dict.fromkeys(instances, Surface.KSERVE),
    }
