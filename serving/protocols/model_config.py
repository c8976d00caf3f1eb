"""A model's configuration as Triton's clients read it (its model configuration extension): batching and tensors.

A model that stacks records has a batch dimension there, which its tensors then do not name.
"""

from collections.abc import Mapping
from typing import Final

from serving.protocols.tensors import TensorModel
from serving.signature import InputField, OutputField

BACKENDS: Final[Mapping[str, str]] = {"onnx": "onnxruntime", "pmml": "pmml", "python": "python"}
MOST_RECORDS: Final = 1024  # said to be the largest batch; what limits one is the size of a message


def config_of(model: TensorModel) -> dict[str, object]:
    """The configuration as Triton's JSON has it."""
    signature = model.signature
    batches = signature.batch == "stack"
    return {
        "name": model.name,
        "platform": signature.platform,
        "backend": BACKENDS.get(signature.format, signature.format),
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": MOST_RECORDS if batches else 0,
        "input": [
            {**_tensor(field, batches=batches), **({} if field.required else {"optional": True})}
            for field in signature.inputs
        ],
        "output": [_tensor(field, batches=batches) for field in signature.outputs],
        "instance_group": [{"name": model.name, "kind": "KIND_CPU", "count": 1}],
    }


def _tensor(field: InputField | OutputField, *, batches: bool) -> dict[str, object]:
    shape = list(field.shape[1:] if batches else field.shape)
    told: dict[str, object] = {"name": field.name, "data_type": data_type(field.datatype)}
    # Dimensions may not be empty there: one value a record is a vector of one, told as such and reshaped to none.
    return {**told, "dims": shape} if shape else {**told, "dims": [1], "reshape": {"shape": []}}


def data_type(datatype: str) -> str:
    """Triton's name of a datatype in configurations."""
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
