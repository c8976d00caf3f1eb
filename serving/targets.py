"""Request targets: what paths a model answers at, by its name and the key of a part."""

DEFAULT = ""  # the key of what answers where no part is named


def predict_paths(name: str, part: str) -> list[bytes]:
    """Where predictions are asked: on the replica's own, and as the platform has it."""
    at = "" if part == DEFAULT else f"/parts/{part}"
    return [f"{at}/predict".encode(), f"/api/v1/services/{name}{at}/predict".encode()]


def model_paths(name: str, version: str, part: str) -> list[str]:
    """What the tensor protocol calls a model: the default one also without its version."""
    model = f"/v2/models/{name}"
    return [model, f"{model}/versions/{version}"] if part == DEFAULT else [f"{model}/versions/{part}"]


def prediction_targets(name: str, version: str, part: str) -> dict[bytes, bool]:
    """Where a model is asked for predictions; `True` where these are tensors."""
    infer = [f"{path}/infer".encode() for path in model_paths(name, version, part)]
    return {**dict.fromkeys(predict_paths(name, part), False), **dict.fromkeys(infer, True)}
