"""The gRPC message, and an Arrow stream where its rows can carry the tensors."""

import io

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import ipc

from serving.application import ModelServer
from serving.engines.base import Columns
from serving.media import ARROW
from serving.protocols.oip_proto import declare_messages
from serving.signature import Signature
from tests.serving.conformance.binary_way import packed, unpacked
from tests.serving.conformance.ways import datatypes_of, post

INFER = b"/inference.GRPCInferenceService/ModelInfer"


class OipGrpc:
    """`ModelInfer` with raw contents both ways: all datatypes and all values."""

    name, keeps_shapes = "gRPC", True

    def __init__(self) -> None:
        self._messages = declare_messages()

    def carries(self, signature: Signature, columns: Columns, answer: Columns) -> bool:
        return True

    async def ask(self, server: ModelServer, signature: Signature, columns: Columns) -> Columns:
        datatypes = {field.name: field.datatype for field in signature.inputs}
        request = self._messages["ModelInferRequest"](model_name="node")
        for name, column in columns.items():
            request.inputs.add(name=name, datatype=datatypes[name], shape=column.shape)
            request.raw_input_contents.append(packed(column, datatypes[name]))
        response = await post(server, INFER, request.SerializeToString(), {})
        told = self._messages["ModelInferResponse"].FromString(response.body)
        return {
            each.name: unpacked(raw, each.datatype).reshape(tuple(each.shape))
            for each, raw in zip(told.outputs, told.raw_output_contents, strict=True)
        }


class ArrowRows:
    """POST /predict with an Arrow IPC stream both ways: tensors whose first axis is the records."""

    name, keeps_shapes = "Arrow", True

    def carries(self, signature: Signature, columns: Columns, answer: Columns) -> bool:
        """Whether rows have all of it: records below each other, or one record of whole tensors; numbers, of which
        Arrow has all but BF16; and a table that tells the tensors themselves, not what a task makes of them."""
        tensors = [*columns.values(), *answer.values()]
        counts = {array.shape[0] if array.ndim else 0 for array in tensors}
        is_table = signature.batch == "none" or (len(counts) == 1 and 0 not in counts)
        is_numeric = all(array.size and array.dtype.kind in "biuf" for array in tensors)
        return signature.task == "tensor" and is_table and is_numeric and "BF16" not in datatypes_of(signature)

    async def ask(self, server: ModelServer, signature: Signature, columns: Columns) -> Columns:
        is_one = signature.batch == "none"
        table = pa.table({name: _column(array[None] if is_one else array) for name, array in columns.items()})
        out = io.BytesIO()
        with ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
        headers = {b"content-type": ARROW.encode(), b"accept": ARROW.encode()}
        response = await post(server, b"/predict", out.getvalue(), headers)
        answered = ipc.open_stream(response.body).read_all().combine_chunks()
        found = {name: _array(answered.column(name)) for name in answered.column_names}
        return {name: array[0] for name, array in found.items()} if is_one else found


def _column(array: NDArray[np.generic]) -> pa.Array:
    made = pa.array(np.ascontiguousarray(array).reshape(-1))
    for size in reversed(array.shape[1:]):
        made = pa.FixedSizeListArray.from_arrays(made, size)
    return made


def _array(column: pa.ChunkedArray) -> NDArray[np.generic]:
    array, shape = column.chunk(0), [len(column)]
    while pa.types.is_fixed_size_list(array.type):
        shape.append(array.type.list_size)
        array = array.flatten()
    found: NDArray[np.generic] = array.to_numpy(zero_copy_only=False).reshape(shape)
    return found
