"""ONNX models made in the test, operator by operator."""

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

Dims = Sequence[int | str | None]


def tensor(name: str, dims: Dims | None = (None, 2), element_type: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element_type, dims)


def node(operator: str, inputs: str, outputs: str, domain: str = "", **attributes: object) -> onnx.NodeProto:
    """Names of inputs and outputs are separated by spaces."""
    made = helper.make_node(operator, inputs.split(), outputs.split(), domain=domain)
    made.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    return made


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto] | None = None,
    outputs: Sequence[onnx.ValueInfoProto] | None = None,
    weights: Sequence[onnx.TensorProto] = (),
    opsets: dict[str, int] | None = None,
    functions: Sequence[onnx.FunctionProto] = (),
    ir_version: int = 8,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "test",
        [tensor("x")] if inputs is None else inputs,
        [tensor("y")] if outputs is None else outputs,
        list(weights),
    )
    imports = {"": 17, "ai.onnx.ml": 3} if opsets is None else opsets
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in imports.items()],
        functions=list(functions),
        ir_version=ir_version,
    )


def identity(inputs: Sequence[onnx.ValueInfoProto] | None = None, **changes: object) -> onnx.ModelProto:
    """y = x; attributes of the model may be set by name."""
    made = model([node("Identity", inputs[0].name if inputs else "x", "y")], inputs)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def classifier(*, zipped: bool = True) -> onnx.ModelProto:
    """A linear classifier of two features into `no` and `yes`."""
    nodes = [
        node(
            "LinearClassifier",
            "x",
            "label scores",
            domain="ai.onnx.ml",
            coefficients=[-1.0, 0.5, 1.0, -0.5],
            intercepts=[0.0, 0.0],
            classlabels_strings=["no", "yes"],
            post_transform="SOFTMAX",
        )
    ]
    label = tensor("label", [None], TensorProto.STRING)
    if not zipped:
        return model(nodes, outputs=[label, tensor("scores", [None, 2])])
    nodes.append(node("ZipMap", "scores", "zipped", domain="ai.onnx.ml", classlabels_strings=["no", "yes"]))
    maps = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    value = helper.make_value_info("zipped", helper.make_sequence_type_proto(maps))
    return model(nodes, outputs=[label, value])


def saved(made: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path
