"""The binary tensor extension of /v2: all datatypes and all values, NaN and the halves included."""

import struct
from collections.abc import Iterator
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.application import ModelServer
from serving.datatypes import DTYPES
from serving.engines.base import Columns
from serving.signature import Datatype, Signature
from tests.serving.conformance.ways import post

HEADER = "inference-header-content-length"


class OipBinary:
    """POST /v2/models/…/infer with raw bytes both ways."""

    name, keeps_shapes = "/v2 binary", True

    def carries(self, signature: Signature, columns: Columns, answer: Columns) -> bool:
        return True

    async def ask(self, server: ModelServer, signature: Signature, columns: Columns) -> Columns:
        datatypes = {field.name: field.datatype for field in signature.inputs}
        raws = {name: packed(column, datatypes[name]) for name, column in columns.items()}
        inputs = [
            {
                "name": name,
                "datatype": datatypes[name],
                "shape": column.shape,
                "parameters": {"binary_data_size": len(raws[name])},
            }
            for name, column in columns.items()
        ]
        header = msgspec.json.encode({"inputs": inputs, "parameters": {"binary_data_output": True}})
        headers = {HEADER.encode(): str(len(header)).encode(), b"content-type": b"application/octet-stream"}
        response = await post(server, b"/v2/models/node/infer", header + b"".join(raws.values()), headers)
        split = int({name.lower(): value for name, value in response.headers.items()}[HEADER])
        told, rest = msgspec.json.decode(response.body[:split])["outputs"], response.body[split:]
        found: dict[str, NDArray[np.generic]] = {}
        for each in told:
            size = cast("int", each["parameters"]["binary_data_size"])
            found[each["name"]] = unpacked(rest[:size], each["datatype"]).reshape(each["shape"])
            rest = rest[size:]
        return found


def packed(column: NDArray[np.generic], datatype: Datatype) -> bytes:
    """The bytes of a tensor, little-endian, row by row; texts each with its length before it."""
    if datatype == "BYTES":
        texts = [str(text).encode() for text in column.reshape(-1)]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    if datatype == "BF16":
        return np.ascontiguousarray(column, "<f4").view("<u2").reshape(-1, 2)[:, 1].tobytes()
    return np.ascontiguousarray(column).tobytes()


def unpacked(raw: bytes, datatype: Datatype) -> NDArray[np.generic]:
    """The flat values of a tensor's bytes."""
    if datatype == "BYTES":
        texts = list(_texts(raw))
        column = np.empty(len(texts), np.object_)
        column[:] = texts
        return column
    if datatype == "BF16":
        halves = np.frombuffer(raw, "<u2")
        return np.stack([np.zeros_like(halves), halves], axis=-1).reshape(-1).view("<f4")
    return np.frombuffer(raw, DTYPES[datatype])


def _texts(raw: bytes) -> Iterator[str]:
    while raw:
        (length,) = struct.unpack_from("<I", raw)
        yield raw[4 : 4 + length].decode()
        raw = raw[4 + length :]
