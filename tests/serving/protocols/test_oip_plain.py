"""Infer messages by hand: they are what protobuf says, or left to it."""

import random
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError

from serving.protocols.oip_plain import MOST_REMEMBERED, MOST_TENSORS, PlainMessages, model_fields, varint
from serving.protocols.tensors import Tensor
from tests.serving.protocols.grpc_messages import MESSAGES, infer_request

REQUEST, RESPONSE = MESSAGES["ModelInferRequest"], MESSAGES["ModelInferResponse"]


def told(request: Any) -> tuple[object, ...]:
    """What protobuf says of a plain request."""
    inputs = [(each.name, each.datatype, tuple(each.shape)) for each in request.inputs]
    return request.model_name, request.model_version, request.id, inputs, list(request.raw_input_contents)


def read(message: bytes) -> tuple[object, ...] | None:
    found = PlainMessages().read(message)
    if found is None:
        return None
    inputs = [(each.name, each.datatype, each.shape) for each in found.given]
    raws = [bytes(each.data) for each in found.given]  # type: ignore[arg-type]  # all are raw
    return found.model_name, found.model_version, found.id.decode(), inputs, raws


def chosen(dice: random.Random) -> Any:
    request = REQUEST(
        model_name=dice.choice(["", "iris", "ü" * 90]), model_version=dice.choice(["", "3"]), id=dice.choice(["", "7"])
    )
    for _ in range(dice.randrange(1, 4)):
        shape = [dice.choice([0, 1, 3, 200, 2**40]) for _ in range(dice.randrange(4))]
        request.inputs.add(name=dice.choice(["x", "n" * 300]), datatype="FP32", shape=shape)
        request.raw_input_contents.append(dice.randbytes(dice.choice([0, 5, 200, 5000])))
    return request


def test_a_plain_request_is_read_as_protobuf_reads_it() -> None:
    dice = random.Random(1)
    for _ in range(300):
        request = chosen(dice)
        assert read(request.SerializeToString()) == told(request)


def test_a_mutilated_one_is_read_alike_or_left_to_protobuf() -> None:
    dice, left = random.Random(2), 0
    for _ in range(5_000):
        data = bytearray(chosen(dice).SerializeToString()[: dice.choice([30, 300, 3000])])
        for _ in range(dice.randrange(3)):
            data[dice.randrange(len(data))] = dice.choice(
                [0, 1, 0x0A, 0x1A, 0x2A, 0x3A, 0x7F, 0xFF, dice.randrange(256)]
            )
        found = read(bytes(data))
        if found is None:
            left += 1
            continue
        try:
            assert found == told(REQUEST.FromString(bytes(data)))
        except DecodeError:
            pytest.fail(f"protobuf refuses {bytes(data).hex()}")
    assert 100 < left < 4_900


@pytest.mark.parametrize(
    "change",
    [
        lambda request: request.outputs.add(name="y"),
        lambda request: request.parameters["priority"].__setattr__("int64_param", 1),
        lambda request: request.inputs[0].contents.fp32_contents.append(1),
        lambda request: request.inputs[0].parameters["a"].__setattr__("int64_param", 1),
        lambda request: request.inputs[0].shape.__setitem__(0, -1),
        lambda request: request.inputs[0].shape.extend([1] * 64),
        lambda request: request.raw_input_contents.append(b""),
        lambda request: request.raw_input_contents.__delitem__(0),
        lambda request: request.raw_input_contents.extend([b""] * MOST_TENSORS),
        lambda request: (request.inputs.extend(request.inputs[:] * 64), request.raw_input_contents.extend([b""] * 64)),
    ],
)
def test_what_is_unusual_is_left_to_protobuf(change: Any) -> None:
    request = infer_request()
    change(request)
    assert read(request.SerializeToString()) is None


def test_texts_that_are_none_and_empty_messages_are_left_to_protobuf() -> None:
    plain = infer_request(id="7").SerializeToString()
    assert read(plain) is not None
    for message in (
        b"",
        plain.replace(b"iris", b"ir\xffs"),
        plain.replace(b"\x1a\x017", b"\x1a\x01\xff"),
        plain + b"\x40\x01",
    ):
        assert read(message) is None


@pytest.mark.parametrize("is_final", [False, True])
@pytest.mark.parametrize("request_id", ["", "7", "ü" * 100])
def test_an_answer_is_written_as_protobuf_writes_it(request_id: str, *, is_final: bool) -> None:
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 300), np.float32), np.array(7, np.float32)]
    tensors = [Tensor(f"y{place}", "FP32", array, is_binary=True) for place, array in enumerate(arrays)]
    expected = RESPONSE(model_name="iris", model_version="3", id=request_id)
    for tensor in tensors:
        expected.outputs.add(name=tensor.name, datatype="FP32", shape=tensor.array.shape)
        expected.raw_output_contents.append(tensor.array.tobytes())
    if is_final:
        expected.parameters["triton_final_response"].bool_param = True
    messages = PlainMessages()
    for _ in range(2):
        written = messages.write(model_fields("iris", "3"), request_id.encode(), tensors, is_final=is_final)
        assert written == expected.SerializeToString(deterministic=True)


def test_no_more_is_remembered_than_is_of_use() -> None:
    messages = PlainMessages()
    for n in range(2 * MOST_REMEMBERED):
        assert messages.read(infer_request([n] * 2 * (n + 1)).SerializeToString()) is not None
        messages.write(b"", b"", [Tensor("y", "FP32", np.zeros(n, np.float32))])
    assert len(messages._described) <= MOST_REMEMBERED
    assert len(messages._outputs) <= MOST_REMEMBERED
    assert [varint(number) for number in (0, 127, 128, 300)] == [b"\x00", b"\x7f", b"\x80\x01", b"\xac\x02"]
