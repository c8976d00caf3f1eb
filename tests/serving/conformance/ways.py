"""The ways from columns to columns through a model server: what each can carry, and how it asks."""

import asyncio
from collections.abc import Mapping
from typing import Protocol, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.application import ModelServer
from serving.datatypes import BINARY_ONLY, DTYPES
from serving.engines.base import Columns
from serving.messages import Request, Response
from serving.signature import Datatype, Signature


class NotAnswered(Exception):
    """The server refused, or failed at, what the bare engine answers."""


class Way(Protocol):
    """One protocol and encoding. `keeps_shapes` is false where the shape of an empty tensor is lost."""

    name: str
    keeps_shapes: bool

    def carries(self, signature: Signature, columns: Columns, answer: Columns) -> bool:
        """Whether these inputs and this answer can be written this way."""
        ...

    async def ask(self, server: ModelServer, signature: Signature, columns: Columns) -> Columns:
        """The server's answer. Raises `NotAnswered`."""
        ...


class PredictTensors:
    """POST /predict with `tensors`: nested arrays in JSON."""

    name, keeps_shapes = "/predict", False

    def carries(self, signature: Signature, columns: Columns, answer: Columns) -> bool:
        return is_finite(columns) and is_finite(answer)

    async def ask(self, server: ModelServer, signature: Signature, columns: Columns) -> Columns:
        body = {"tensors": {name: column.tolist() for name, column in columns.items()}}
        answered = await post_json(server, b"/predict", body)
        outputs = cast("Mapping[str, object]", answered["outputs"])
        return {field.name: _array(outputs[field.name], field.datatype) for field in signature.outputs}


class OipJson:
    """POST /v2/models/…/infer with flat data in JSON."""

    name, keeps_shapes = "/v2 JSON", True

    def carries(self, signature: Signature, columns: Columns, answer: Columns) -> bool:
        return is_finite(columns) and is_finite(answer) and BINARY_ONLY.isdisjoint(datatypes_of(signature))

    async def ask(self, server: ModelServer, signature: Signature, columns: Columns) -> Columns:
        datatypes = {field.name: field.datatype for field in signature.inputs}
        inputs = [
            {"name": name, "datatype": datatypes[name], "shape": column.shape, "data": column.reshape(-1).tolist()}
            for name, column in columns.items()
        ]
        answered = await post_json(server, b"/v2/models/node/infer", {"inputs": inputs})
        outputs = cast("list[dict[str, object]]", answered["outputs"])
        return {
            str(each["name"]): _array(each["data"], cast("Datatype", each["datatype"])).reshape(
                cast("list[int]", each["shape"])
            )
            for each in outputs
        }


WAYS: tuple[Way, ...] = (PredictTensors(), OipJson())


def datatypes_of(signature: Signature) -> set[Datatype]:
    """Of all inputs and outputs."""
    return {each.datatype for each in signature.inputs} | {each.datatype for each in signature.outputs}


def is_finite(columns: Columns) -> bool:
    """Whether JSON has all of these numbers."""
    return all(column.dtype.kind != "f" or bool(np.isfinite(column).all()) for column in columns.values())


async def post_json(server: ModelServer, target: bytes, body: object) -> dict[str, object]:
    """The decoded answer. Raises `NotAnswered`."""
    response = await post(server, target, msgspec.json.encode(body), {})
    return cast("dict[str, object]", msgspec.json.decode(response.body))


async def post(server: ModelServer, target: bytes, body: bytes, headers: Mapping[bytes, bytes]) -> Response:
    """The server's response, of status 200. Raises `NotAnswered`."""
    answered = server.answer(Request(b"POST", target, headers, body))
    response = await answered if isinstance(answered, asyncio.Future) else answered
    if response.status != 200:
        raise NotAnswered(f"{response.status} {response.body[:300].decode()}")
    return response


def _array(values: object, datatype: Datatype) -> NDArray[np.generic]:
    return np.array(values, DTYPES[datatype])
