"""What is asked, in the spellings that servers take: the Open Inference Protocol, a plain JSON route, gRPC."""

import array
import json
import random
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.wire import request

JSON_TYPE = "application/json"
IDENTITY_VALUES = 262_144  # FP32: 1 MiB
MANY_ROWS = 128
MANY_RECORDS = 1000
CONV_SHAPE, DENSE_SHAPE = (3, 32, 32), (3, 16, 16)
LENGTH_DELIMITED, VARINT = 2, 0
GRPC_METHOD = "/inference.GRPCInferenceService/ModelInfer"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request that is sent again and again: what follows the address, headers, body."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": JSON_TYPE})
    port: int = 0
    is_grpc: bool = False

    @property
    def is_binary(self) -> bool:
        """Whether what it asks for comes back as bytes, all of an output in a row."""
        return self.headers.get("content-type") != JSON_TYPE

    def at(self, port: int) -> "Ask":
        """The same request to a server."""
        return Ask(self.path, self.body, self.headers, port, self.is_grpc)

    def http(self) -> bytes:
        """As it goes over a connection; a GET where there is no body."""
        return request("POST" if self.body else "GET", self.path, self.body, self.headers)

    def write(self, folder: Path, name: str) -> Path:
        """The body as a file, for a load generator."""
        path = folder / f"{name}.body"
        path.write_bytes(self.body)
        return path


def iris_rows(count: int) -> list[list[float]]:
    """Rows with one decimal, as in the data set."""
    dice = random.Random(count)
    return [[dice.randrange(1, 80) / 10 for _ in range(4)] for _ in range(count)]


def image_rows(channels: int, height: int, width: int) -> list[list[list[list[float]]]]:
    """One image with values of three decimals."""
    dice = random.Random(width)
    return [[[[dice.randrange(1000) / 1000 for _ in range(width)] for _ in range(height)] for _ in range(channels)]]


def oip_json(path: str, tensor: str, shape: Sequence[int], rows: Sequence[Any]) -> Ask:
    """An infer request of the Open Inference Protocol, with flat data."""
    given = {"name": tensor, "shape": list(shape), "datatype": "FP32", "data": list(_flat(rows))}
    return Ask(path, json.dumps({"inputs": [given]}, separators=(",", ":")).encode())


def oip_binary(path: str, tensor: str, shape: Sequence[int], data: bytes) -> Ask:
    """Likewise, with the tensor as bytes behind the JSON, asked back in the same way (Triton's extension)."""
    given = {"name": tensor, "shape": list(shape), "datatype": "FP32", "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True}}).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    return Ask(path, head + data, headers)


def route_json(path: str, rows: Sequence[Any]) -> Ask:
    """What one would write by hand: rows under a name."""
    return Ask(path, json.dumps({"inputs": rows}, separators=(",", ":")).encode())


def record_json(path: str, names: Sequence[str], row: Sequence[float]) -> Ask:
    """One record in Portside's own spelling."""
    return Ask(path, json.dumps({"inputs": dict(zip(names, row, strict=True))}, separators=(",", ":")).encode())


def columns_json(path: str, names: Sequence[str], rows: Sequence[Sequence[float]]) -> Ask:
    """A table in Portside's own spelling."""
    return Ask(path, json.dumps({"columns": names, "data": rows}, separators=(",", ":")).encode())


def oip_grpc(model: str, tensor: str, shape: Sequence[int], rows: Sequence[Any]) -> Ask:
    """A ModelInferRequest with raw contents, as Triton's and KServe's clients send it, in a gRPC frame."""
    sizes = b"".join(_varint(size) for size in shape)
    described = _member(1, tensor.encode()) + _member(2, b"FP32") + _member(3, sizes)
    message = _member(1, model.encode()) + _member(5, described) + _member(7, packed(rows))
    frame = struct.pack(">?I", False, len(message)) + message
    return Ask(GRPC_METHOD, frame, {"content-type": "application/grpc", "te": "trailers"}, is_grpc=True)


def identity_bytes() -> bytes:
    """The identity model's row."""
    dice = random.Random(IDENTITY_VALUES)
    return array.array("f", [dice.randrange(1000) / 1024 for _ in range(IDENTITY_VALUES)]).tobytes()


def packed(rows: Sequence[Any]) -> bytes:
    """Numbers as FP32, little-endian."""
    flat = list(_flat(rows))
    return struct.pack(f"<{len(flat)}f", *flat)


def _flat(nested: Any) -> Iterator[float]:
    if isinstance(nested, Sequence):
        for one in nested:
            yield from _flat(one)
    else:
        yield nested


def _member(number: int, data: bytes) -> bytes:
    """A length-delimited member of a protobuf message."""
    return _varint(number << 3 | LENGTH_DELIMITED) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
