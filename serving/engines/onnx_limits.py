"""What the installed onnxruntime reads: IR version, opsets, operators.

The limits are found by asking it to load one-node models, so they are right after every upgrade. They are asked for
once per process: listing the operators alone takes longer than the rest of a small model's description.
"""

from collections.abc import Iterator, Mapping
from functools import cache

import onnx
import onnx.defs
import onnx.helper

from serving.engines.onnx_runtime import RUNTIME_ERRORS, open_session, operator_schemas

DEFAULT_DOMAIN = "ai.onnx"

# How far above the onnx package's own newest version the search for onnxruntime's limit begins.
_HEADROOM = 4


Operators = Mapping[str, Mapping[str, int]]


def domain_name(domain: str) -> str:
    """The domain as people write it: the default one, empty in the file, is `ai.onnx`."""
    return domain or DEFAULT_DOMAIN


def reads_opset(domain: str, version: int) -> bool:
    """Whether onnxruntime loads a model that imports this opset."""
    return 0 < version < 2**31 and _reads(8, domain, version)


def reads_ir_version(version: int) -> bool:
    """Whether onnxruntime loads a model of this IR version."""
    return 0 < version < 2**31 and _reads(version, "", 17)


@cache
def newest_opset(domain: str) -> int:
    """The highest opset of the domain that onnxruntime reads; 0 where it reads none."""
    known = max((schema.since_version for schema in _schemas() if schema.domain == domain), default=0)
    return next((version for version in range(known + _HEADROOM, 0, -1) if reads_opset(domain, version)), 0)


@cache
def newest_ir_version() -> int:
    """The highest IR version that onnxruntime reads."""
    return next(version for version in range(onnx.IR_VERSION + _HEADROOM, 0, -1) if reads_ir_version(version))


@cache
def operators() -> Operators:
    """By domain and operator, the opset that brought the operator, for all that onnxruntime has registered."""
    registered: dict[str, dict[str, int]] = {}
    for schema in _schemas():
        names = registered.setdefault(schema.domain, {})
        names[schema.name] = min(schema.since_version, names.get(schema.name, schema.since_version))
    return registered


def _schemas() -> Iterator[onnx.defs.OpSchema]:
    """Both registries: onnxruntime's is free of operators that ended before opset 7, onnx's of com.microsoft."""
    yield from onnx.defs.get_all_schemas_with_history()
    yield from operator_schemas()


@cache
def _reads(ir_version: int, domain: str, version: int) -> bool:
    return _loads(ir_version, {"": 17} | {domain: version})


def _loads(ir_version: int, opsets: Mapping[str, int]) -> bool:
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])],
        "probe",
        [value("x", onnx.TensorProto.FLOAT, [1])],
        [value("y", onnx.TensorProto.FLOAT, [1])],
    )
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=ir_version)
    try:
        open_session(model.SerializeToString(), threads=1)
    except RUNTIME_ERRORS:
        return False
    return True
