"""What the ONNX engine reads from a model: inputs, outputs, batch, labels, metadata."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from serving.engines.onnx import OnnxEngine
from serving.signature import Producer, Signature, Treatment
from tests.serving.engines.onnx_models import classifier, identity, model, node, saved, tensor


def described(made: onnx.ModelProto, folder: Path) -> Signature:
    return OnnxEngine().describe(saved(made, folder))


def test_the_file_says_its_versions_producer_and_metadata(tmp_path: Path) -> None:
    made = identity(producer_name="torch", producer_version="2.9", doc_string="What it is for", model_version=3)
    made.metadata_props.add(key="author", value="Ada")
    signature = described(made, tmp_path)
    assert signature.format_version == {"ir_version": 8, "opsets": {"ai.onnx": 17, "ai.onnx.ml": 3}}
    assert signature.producer == Producer("torch", "2.9")
    assert signature.metadata == {
        "author": "Ada", "description": "What it is for", "graph_name": "test", "model_version": "3",
    }  # fmt: skip
    assert (signature.engine, signature.platform) == ("onnxruntime", "onnx_onnxv1")


def test_metadata_too_long_to_keep_is_cut_and_says_so(tmp_path: Path) -> None:
    made = identity()
    made.metadata_props.add(key="notes", value="x" * 100_000)
    assert described(made, tmp_path).metadata["notes"].endswith("(100000 characters)")


def test_the_names_of_many_places_are_read_whole_however_long(tmp_path: Path) -> None:
    names = [f"{number}-{'x' * 50}" for number in range(2000)]
    made = model([node("Identity", "x", "y")], [tensor("x", [None, 2000])])
    made.metadata_props.add(key="portside.features", value=json.dumps({"x": names}))
    signature = described(made, tmp_path)
    assert signature.inputs[0].features == tuple(names)
    assert signature.metadata["portside.features"].endswith(" characters)")


def test_weights_are_no_inputs_even_where_the_graph_lists_them(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((2, 2), dtype=np.float32), "w")
    made = model([node("MatMul", "x w", "y")], [tensor("x"), tensor("w", [2, 2])], weights=[weight])
    assert [field.name for field in described(made, tmp_path).inputs] == ["x"]


@pytest.mark.parametrize(
    ("element_type", "datatype"),
    [
        (TensorProto.FLOAT, "FP32"), (TensorProto.DOUBLE, "FP64"), (TensorProto.FLOAT16, "FP16"),
        (TensorProto.INT64, "INT64"), (TensorProto.UINT8, "UINT8"), (TensorProto.BOOL, "BOOL"),
        (TensorProto.STRING, "BYTES"),
    ],
)  # fmt: skip
def test_element_types_are_named_by_the_inference_protocol(tmp_path: Path, element_type: int, datatype: str) -> None:
    value = tensor("x", [None, 2], element_type)
    made = model([node("Identity", "x", "y")], [value], [tensor("y", [None, 2], element_type)])
    assert described(made, tmp_path).inputs[0].datatype == datatype


@pytest.mark.parametrize(
    ("first", "second", "batch"),
    [
        (["N", 2], ["N", 2], "stack"),
        ([None, 2], ["batch", 2], "stack"),
        (["unk__12", 2], ["unk__13", 2], "stack"),
        (["batch_size", 2], ["batch_size_1", 2], "stack"),
        ([-1, 2], [-1, 2], "stack"),
        (["rows", 2], ["columns", 2], "none"),
        (["sequence_length", 2], ["sequence_length", 2], "none"),
        ([1, 2], [1, 2], "loop"),
        ([1, 2], [None, 2], "none"),
        ([4, 2], [4, 2], "none"),
        ([], [], "none"),
    ],
)
def test_the_batch_follows_from_the_first_dimensions(
    tmp_path: Path, first: list[int | str | None], second: list[int | str | None], batch: str
) -> None:
    inputs = [tensor("a", first), tensor("b", second)]
    made = model([node("Add", "a b", "y")], inputs, [tensor("y", None)])
    assert described(made, tmp_path).batch == batch


def test_a_model_that_reduces_over_its_records_is_not_stacked(tmp_path: Path) -> None:
    made = model([node("ReduceMax", "x", "y", keepdims=0)], outputs=[tensor("y", [])])
    assert described(made, tmp_path).batch == "none"


def test_metadata_overrides_the_batch(tmp_path: Path) -> None:
    made = identity()
    made.metadata_props.add(key="portside.batch", value="none")
    assert described(made, tmp_path).batch == "none"


def test_free_dimensions_read_as_minus_one(tmp_path: Path) -> None:
    value = tensor("x", ["N", 3, "height", "width"])
    made = model([node("Relu", "x", "y")], [value], [tensor("y", ["N", 3, "height", "width"])])
    assert described(made, tmp_path).inputs[0].shape == (-1, 3, -1, -1)


def test_an_output_without_a_declared_shape_gets_the_inferred_one(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((2, 5), dtype=np.float32), "w")
    made = model([node("MatMul", "x w", "y")], outputs=[tensor("y", None)], weights=[weight])
    assert described(made, tmp_path).outputs[0].shape == (-1, 5)


def test_a_wrongly_declared_width_is_corrected(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((2, 5), dtype=np.float32), "w")
    made = model([node("MatMul", "x w", "y")], outputs=[tensor("y", [None, "k"])], weights=[weight])
    assert described(made, tmp_path).outputs[0].shape == (-1, 5)


@pytest.mark.parametrize(("zipped", "name"), [(True, "zipped"), (False, "scores")])
def test_a_classifier_tells_its_label_and_probabilities_with_and_without_zipmap(
    tmp_path: Path, zipped: bool, name: str
) -> None:
    signature = described(classifier(zipped=zipped), tmp_path)
    label, scores = signature.outputs
    assert (signature.task, signature.algorithm.name) == ("classification", "logistic regression")
    assert (label.role, label.datatype, label.shape, label.values) == ("label", "BYTES", (-1,), ("no", "yes"))
    assert (scores.name, scores.role, scores.shape, scores.labels) == (name, "probability", (-1, 2), ("no", "yes"))


def test_a_label_of_fixed_size_one_is_one_per_record(tmp_path: Path) -> None:
    made = classifier()
    made.graph.output[0].type.CopyFrom(helper.make_tensor_type_proto(TensorProto.STRING, [1]))
    assert described(made, tmp_path).outputs[0].shape == (-1,)


def categories(*, zeros: int) -> onnx.ModelProto:
    encoder = node("OneHotEncoder", "job", "hot", "ai.onnx.ml", cats_strings=["clerk", "nurse"], zeros=zeros)
    job = tensor("job", [None, 1], TensorProto.STRING)
    return model([encoder, node("Identity", "hot", "y")], [job], [tensor("y", None)])


def test_an_encoder_that_knows_its_categories_restricts_the_input(tmp_path: Path) -> None:
    job = described(categories(zeros=0), tmp_path).inputs[0]
    assert (job.measure, job.values) == ("categorical", ("clerk", "nurse"))
    assert job.invalid == Treatment("returnInvalid")


def test_an_encoder_that_ignores_others_only_suggests_its_categories(tmp_path: Path) -> None:
    job = described(categories(zeros=1), tmp_path).inputs[0]
    assert (job.values, job.invalid) == (("clerk", "nurse"), Treatment("asIs"))


@pytest.mark.parametrize(
    ("operators", "name"),
    [
        (["Conv"], "convolutional network"),
        (["LSTM"], "recurrent network"),
        (["Attention"], "transformer"),
        (["MatMul", "Relu", "MatMul"], "neural network"),
        (["Relu"], "operator graph"),
    ],
)
def test_a_deep_network_is_named_after_its_operators(tmp_path: Path, operators: list[str], name: str) -> None:
    weight = numpy_helper.from_array(np.ones((2, 2), dtype=np.float32), "w")
    nodes, last = [], "x"
    for position, operator in enumerate(operators):
        domain = "com.microsoft" if operator == "Attention" else ""
        inputs = {"Relu": last, "LSTM": f"{last} w w"}.get(operator, f"{last} w")
        extra = {"hidden_size": 2} if operator == "LSTM" else {"num_heads": 1} if domain else {}
        nodes.append(node(operator, inputs, f"h{position}", domain, **extra))
        last = f"h{position}"
    made = model(nodes, outputs=[tensor(last, None)], weights=[weight], opsets={"": 17, "com.microsoft": 1})
    signature = described(made, tmp_path)
    assert (signature.task, signature.algorithm.name) == ("tensor", name)


def test_weights_above_the_copying_limit_are_described_like_others(tmp_path: Path) -> None:
    large = numpy_helper.from_array(np.ones((2, 200_000), dtype=np.float32), "w")
    made = model([node("MatMul", "x w", "y")], outputs=[tensor("y", None)], weights=[large])
    assert described(made, tmp_path).outputs[0].shape == (-1, 200_000)
