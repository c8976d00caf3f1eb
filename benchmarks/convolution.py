"""A small image classifier, made without training: convolutions as they look at an image, and a dense layer behind."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

LAYERS = 3


def convolution_model(size: int, channels: int, hidden: int, classes: int = 10, seed: int = 7) -> bytes:
    """An ONNX model of `image` [N, 3, size, size] that answers `scores` [N, classes]; the weights are random."""
    random = np.random.default_rng(seed)
    nodes, weights, last, width = [], [], "image", 3

    def weight(name: str, *shape: int) -> str:
        scale = np.sqrt(np.prod(shape[1:]) if len(shape) > 2 else shape[0])
        weights.append(numpy_helper.from_array((random.standard_normal(shape) / scale).astype(np.float32), name))
        return name

    for layer in range(LAYERS):
        kernel = weight(f"kernel{layer}", channels, width, 3, 3)
        stride = 2 if layer else 1
        nodes.append(helper.make_node("Conv", [last, kernel], [f"c{layer}"], pads=[1] * 4, strides=[stride] * 2))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"r{layer}"]))
        last, width = f"r{layer}", channels
    flat = channels * (size // 4) ** 2
    nodes += [
        helper.make_node("Flatten", [last], ["flat"]),
        helper.make_node("MatMul", ["flat", weight("dense", flat, hidden)], ["h"]),
        helper.make_node("Relu", ["h"], ["hr"]),
        helper.make_node("MatMul", ["hr", weight("head", hidden, classes)], ["scores"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, size, size])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", classes])
    graph = helper.make_graph(nodes, "convolution", [image], [scores], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
