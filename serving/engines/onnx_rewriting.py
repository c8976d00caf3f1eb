"""Sessions over models that onnxruntime cannot run as their files have them: rewritten in memory, never on disk."""

from pathlib import Path

import onnx.helper

from serving.engines.onnx_file import read_model
from serving.engines.onnx_graph import attribute, nodes
from serving.engines.onnx_outputs import unwrap_outputs
from serving.engines.onnx_runtime import RUNTIME_ERRORS, Session, open_served
from serving.engines.onnx_session import load_unchanged, refused, wants_a_locale


def load_session(path: Path, threads: int) -> Session:
    """A session over the file, its outputs all tensors. Raises `InvalidModel` when onnxruntime refuses the model."""
    unchanged = load_unchanged(path, threads)
    if unchanged is not None:
        return unchanged
    try:
        try:
            return open_served(_source(path), threads)
        except RUNTIME_ERRORS as error:
            if not wants_a_locale(error):
                raise
            return open_served(_with_portable_locale(path), threads)
    except RUNTIME_ERRORS as error:
        raise refused(error) from error


def _source(path: Path) -> str | bytes:
    """The rewritten model's bytes where an output is wrapped, else the file itself, which needs no second copy."""
    model = read_model(path)
    names = [value.name for value in model.graph.output]
    if unwrap_outputs(model) or [value.name for value in model.graph.output] != names:
        return bytes(model.SerializeToString())
    return str(path)


def _with_portable_locale(path: Path) -> bytes:
    """The model with English texts folded by C.UTF-8, which maps every letter's case as en_US does."""
    model = read_model(path)
    unwrap_outputs(model)
    for node in nodes(model):
        locale = attribute(node, "locale")
        if node.op_type == "StringNormalizer" and (locale is None or locale.s.startswith(b"en")):
            if locale is not None:
                node.attribute.remove(locale)
            node.attribute.append(onnx.helper.make_attribute("locale", "C.UTF-8"))
    return bytes(model.SerializeToString())
