"""Messages of the inference protocol for tests, as a client would make them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.protocols.oip_proto import declare_messages

MESSAGES = declare_messages()


def message(name: str, /, **fields: object) -> bytes:
    """A message's bytes."""
    return bytes(MESSAGES[name](**fields).SerializeToString())


def read(name: str, data: bytes) -> Any:
    """A message from its bytes."""
    return MESSAGES[name].FromString(data)


def raw_tensor(request: Any, name: str, datatype: str, array: NDArray[np.generic]) -> None:
    """Add an input with its raw content."""
    request.inputs.add(name=name, datatype=datatype, shape=array.shape)
    request.raw_input_contents.append(array.tobytes())


def infer_request(values: Sequence[float] = (1, 2, 3, 4), model: str = "iris", **fields: object) -> Any:
    """A request to `double_scorer` with these values, raw."""
    request = MESSAGES["ModelInferRequest"](model_name=model, **fields)
    raw_tensor(request, "x", "FP32", np.array(values, np.float32).reshape(-1, 2))
    return request
