"""The bare engine's answer to a case: onnxruntime as its own users call it, with one thread as a replica has."""

import ctypes

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from serving.engines.base import Columns
from serving.engines.onnx_limits import newest_ir_version, newest_opset
from serving.engines.onnx_runtime import RUNTIME_ERRORS
from tests.serving.conformance.node_cases import NodeCase

# Where a generator of random numbers is in play, the first answers may be alike.
_TRIES = 3
_BFLOAT16 = onnx.TensorProto.BFLOAT16


class Excluded(Exception):
    """The case says nothing about serving; the text is one of a few reasons."""


def stamped(case: NodeCase) -> onnx.ModelProto:
    """The case's model, where it claims to be newer than the runtime reads as the newest that it does read."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    model.ir_version = min(model.ir_version, newest_ir_version())
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = min(entry.version, newest_opset(""))
    return model


def bare_answer(case: NodeCase, model: onnx.ModelProto) -> Columns:
    """By output, bfloat16 as float32. Raises `Excluded` where onnxruntime does not run it or is never twice alike."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except RUNTIME_ERRORS as error:
        raise Excluded("onnxruntime does not load it") from error
    names = [value.name for value in session.get_outputs()]
    try:
        answers = [dict(zip(names, _run(session, case), strict=True)) for _ in range(_TRIES)]
    except RUNTIME_ERRORS as error:
        raise Excluded("onnxruntime does not run it") from error
    if any(difference(answer, answers[0]) for answer in answers):
        raise Excluded("onnxruntime draws random numbers")
    return answers[0]


def difference(answer: Columns, expected: Columns, *, keeps_shapes: bool = True) -> str | None:
    """What is not equal bit for bit, if anything."""
    if answer.keys() != expected.keys():
        return f"outputs {sorted(answer)} instead of {sorted(expected)}"
    for name, wanted in expected.items():
        found = answer[name]
        if found.dtype != wanted.dtype:
            return f"{name}: {found.dtype} instead of {wanted.dtype}"
        if found.shape != wanted.shape and (keeps_shapes or wanted.size or found.size):
            return f"{name}: shape {found.shape} instead of {wanted.shape}"
        same = found.tolist() == wanted.tolist() if wanted.dtype == object else found.tobytes() == wanted.tobytes()
        if not same:
            return f"{name}: {found.reshape(-1)[:4]} instead of {wanted.reshape(-1)[:4]}"
    return None


def _run(session: onnxruntime.InferenceSession, case: NodeCase) -> list[NDArray[np.generic]]:
    types = [value.type for value in (*session.get_inputs(), *session.get_outputs())]
    if "tensor(bfloat16)" not in types:
        return list(session.run(None, dict(case.feeds)))
    feeds = {name: _value(np.asarray(feed)) for name, feed in case.feeds.items()}
    return [_column(value) for value in session.run_with_ort_values(None, feeds)]


def _value(array: NDArray[np.generic]) -> onnxruntime.OrtValue:
    if array.dtype.name == "bfloat16":
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), _BFLOAT16)
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def _column(value: onnxruntime.OrtValue) -> NDArray[np.generic]:
    if value.data_type() != "tensor(bfloat16)":
        return np.asarray(value.numpy())
    halves = np.frombuffer(ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes()), np.uint16)
    pairs = np.stack([np.zeros_like(halves), halves], axis=-1)  # little-endian: the upper half comes last
    return np.ascontiguousarray(pairs).view(np.float32).reshape(value.shape())
