"""What the ONNX engine refuses, with which code, and in which words."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from serving.engines.base import InvalidModel
from serving.engines.onnx import OnnxEngine
from serving.engines.onnx_limits import newest_ir_version, newest_opset
from tests.serving.engines.onnx_models import classifier, identity, model, node, saved, tensor


def refused(made: onnx.ModelProto | bytes, folder: Path) -> InvalidModel:
    path = folder / "model.onnx"
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    with pytest.raises(InvalidModel) as caught:
        OnnxEngine().describe(path)
    assert caught.value.hint
    assert str(folder) not in caught.value.message
    return caught.value


def external(weight: onnx.TensorProto) -> onnx.TensorProto:
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../secrets")
    return weight


def weight(name: str = "w") -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones((2, 2), dtype=np.float32), name)


def branch(name: str, nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto]) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, [], [tensor("b", None)], weights)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert refused(b"", tmp_path).code == "onnx_truncated"


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.97])
def test_a_truncated_file_is_refused_with_where_it_ends(tmp_path: Path, kept: float) -> None:
    made = classifier()
    made.graph.doc_string = "a" * 5_000
    content = made.SerializeToString()
    error = refused(content[: int(len(content) * kept)], tmp_path)
    assert error.code == "onnx_truncated"
    assert "the file ends in the middle of the graph" in error.message


def test_a_file_cut_between_its_parts_is_refused(tmp_path: Path) -> None:
    made = identity()
    del made.opset_import[:]
    error = refused(made, tmp_path)
    assert (error.code, "opset imports" in error.message) == ("onnx_truncated", True)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n" + bytes(64), b"PK\x03\x04" * 9, b"\xff" * 40, b"hello\n"])
def test_another_kind_of_file_is_refused_as_no_onnx(tmp_path: Path, content: bytes) -> None:
    error = refused(content, tmp_path)
    assert error.code in {"onnx_invalid", "onnx_truncated"}


def test_bytes_that_only_look_like_a_message_are_refused_as_no_onnx(tmp_path: Path) -> None:
    error = refused(onnx.ModelProto(doc_string="nothing else").SerializeToString(), tmp_path)
    assert (error.code, "no graph" in error.message) == ("onnx_invalid", True)


def test_a_model_without_a_graph_is_refused_as_incomplete(tmp_path: Path) -> None:
    assert refused(onnx.ModelProto(ir_version=8), tmp_path).code == "onnx_truncated"


def test_a_length_beyond_any_file_is_refused(tmp_path: Path) -> None:
    huge = b"\x3a\xff\xff\xff\xff\x07" + b"\x0a\x00" * 20
    error = refused(huge, tmp_path)
    assert (error.code, "2147483647 bytes announced" in error.message) == ("onnx_truncated", True)


def test_subgraphs_nested_without_end_are_refused(tmp_path: Path) -> None:
    graph = b""
    for _ in range(5_000):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            graph = tag + varint(len(graph)) + graph
    error = refused(b"\x08\x08\x3a" + varint(len(graph)) + graph, tmp_path)
    assert (error.code, "deeper than 100 levels" in error.message) == ("onnx_invalid", True)


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def test_an_empty_graph_is_refused(tmp_path: Path) -> None:
    assert refused(model([], outputs=[tensor("x")]), tmp_path).code == "onnx_empty_graph"


def test_a_graph_without_inputs_is_refused(tmp_path: Path) -> None:
    made = model([node("Identity", "w", "y")], inputs=[], weights=[weight()])
    assert refused(made, tmp_path).code == "onnx_no_inputs"


def test_inputs_that_are_only_weights_are_no_inputs(tmp_path: Path) -> None:
    made = model([node("Identity", "w", "y")], inputs=[tensor("w", [2, 2])], weights=[weight()])
    assert refused(made, tmp_path).code == "onnx_no_inputs"


def test_a_graph_without_outputs_is_refused(tmp_path: Path) -> None:
    assert refused(model([node("Identity", "x", "y")], outputs=[]), tmp_path).code == "onnx_no_outputs"


def test_external_data_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    condition = numpy_helper.from_array(np.array(True), "c")
    constant = node("Constant", "", "b", value=external(weight("inner")))
    within = branch("then", [node("Identity", "w", "b")], [external(weight())])
    plain = branch("else", [node("Constant", "", "b", value=weight())], [])
    choice = node("If", "c", "y", then_branch=within, else_branch=plain)
    function = helper.make_function("mine", "F", ["a"], ["b"], [constant], [helper.make_opsetid("", 17)], ["unused"])
    sparse = helper.make_sparse_tensor(external(weight("values")), weight("indices"), [2])
    places = [
        model([node("MatMul", "x w", "y")], weights=[external(weight())]),
        model([constant, node("Identity", "b", "y")]),
        model([choice], weights=[condition]),
        model([node("F", "x", "y", domain="mine")], functions=[function], opsets={"": 17, "mine": 1}),
        model([node("Constant", "", "s", sparse_value=sparse), node("Identity", "x", "y")]),
    ]
    for made in places:
        error = refused(made, tmp_path)
        assert error.code == "onnx_external_data", error.message
        assert "one file" in error.message


def test_custom_operators_are_refused_by_name(tmp_path: Path) -> None:
    nodes = [node("Fancy", "x", "a", domain="my.company"), node("Other", "a", "y", domain="my.company")]
    error = refused(model(nodes, opsets={"": 17, "my.company": 1}), tmp_path)
    assert error.code == "onnx_custom_operators"
    assert "my.company.Fancy, my.company.Other" in error.message


def test_an_operator_that_its_domain_does_not_have_is_refused(tmp_path: Path) -> None:
    error = refused(model([node("Identitty", "x", "y")]), tmp_path)
    assert (error.code, "'Identitty'" in error.message) == ("onnx_unknown_operator", True)


def test_an_operator_of_a_later_opset_is_refused_with_that_opset(tmp_path: Path) -> None:
    error = refused(model([node("Gelu", "x", "y")], opsets={"": 17}), tmp_path)
    assert error.code == "onnx_unknown_operator"
    assert "came with opset 20 of ai.onnx; the model imports 17" in error.message


@pytest.mark.parametrize(("domain", "of_domain"), [("", ""), ("ai.onnx.ml", " of ai.onnx.ml")])
def test_a_newer_opset_is_refused_with_the_newest_that_is_read(tmp_path: Path, domain: str, of_domain: str) -> None:
    newest = newest_opset(domain)
    error = refused(model([node("Identity", "x", "y")], opsets={"": 17, domain: newest + 1}), tmp_path)
    assert error.code == "onnx_opset_unsupported"
    assert error.message == f"opset {newest + 1}{of_domain} is newer than this runtime reads ({newest})"


@pytest.mark.parametrize("version", [0, -1, 2**40])
def test_an_impossible_opset_is_refused(tmp_path: Path, version: int) -> None:
    made = identity()
    made.opset_import[0].version = version
    assert refused(made, tmp_path).code == "onnx_opset_unsupported"


def test_the_newest_opset_that_is_read_is_accepted(tmp_path: Path) -> None:
    made = model([node("Identity", "x", "y")], opsets={"": newest_opset("")})
    assert OnnxEngine().describe(saved(made, tmp_path)).format_version["opsets"] == {"ai.onnx": newest_opset("")}


def test_a_newer_ir_version_is_refused(tmp_path: Path) -> None:
    newest = newest_ir_version()
    error = refused(identity(ir_version=newest + 1), tmp_path)
    assert error.code == "onnx_ir_unsupported"
    assert error.message == f"IR version {newest + 1} is newer than this runtime reads ({newest})"


def test_functions_that_call_themselves_are_refused(tmp_path: Path) -> None:
    imports = [helper.make_opsetid("mine", 1)]
    functions = [
        helper.make_function("mine", "F", ["a"], ["b"], [node("G", "a", "b", domain="mine")], imports),
        helper.make_function("mine", "G", ["a"], ["b"], [node("F", "a", "b", domain="mine")], imports),
    ]
    made = model([node("F", "x", "y", domain="mine")], functions=functions, opsets={"": 17, "mine": 1})
    error = refused(made, tmp_path)
    assert (error.code, "call themselves: F, G" in error.message) == ("onnx_invalid", True)


def test_a_tensor_that_nothing_makes_is_refused_in_short_words(tmp_path: Path) -> None:
    error = refused(model([node("Relu", "nowhere", "y")]), tmp_path)
    assert error.code == "onnx_invalid"
    assert "Relu reads 'nowhere', which no input, weight or earlier operator makes" in error.message


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    error = refused(model([node("Relu", "x", "y"), node("Tanh", "x", "y")]), tmp_path)
    assert (error.code, "'y'" in error.message) == ("onnx_invalid", True)


def test_a_large_weight_with_too_few_bytes_is_refused(tmp_path: Path) -> None:
    large = numpy_helper.from_array(np.zeros((2, 300_000), dtype=np.float32), "w")
    large.dims[1] = 400_000
    error = refused(model([node("MatMul", "x w", "y")], weights=[large]), tmp_path)
    assert error.code == "onnx_invalid"
    assert "needs 3200000 bytes and has 2400000" in error.message


@pytest.mark.parametrize("ending", [b"\xff\xfe\xff\xff", b"\x00\x00\x00\x00"])
def test_a_name_that_is_no_text_is_refused(tmp_path: Path, ending: bytes) -> None:
    content = identity([tensor("input-name")]).SerializeToString().replace(b"input-name", b"input-" + ending)
    error = refused(content, tmp_path)
    assert (error.code, "no usable name" in error.message) == ("onnx_invalid", True)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None), "a sequence"),
        (helper.make_value_info("x", helper.make_optional_type_proto(tensor("t").type)), "an optional value"),
        (helper.make_value_info("x", helper.make_map_type_proto(TensorProto.STRING, tensor("t").type)), "a map"),
        (tensor("x", None), "declares no shape"),
        (tensor("x", [None, 100_000, 100_000]), "too large"),
        (tensor("x", [None, 2], TensorProto.COMPLEX64), "COMPLEX64"),
    ],
)
def test_an_input_that_predictions_cannot_carry_is_refused(
    tmp_path: Path, value: onnx.ValueInfoProto, words: str
) -> None:
    output = onnx.ValueInfoProto(name="y", type=value.type)
    error = refused(model([node("Identity", "x", "y")], [value], [output]), tmp_path)
    assert (error.code, words in error.message) == ("onnx_unsupported_input", True)


def test_a_sequence_that_is_computed_is_refused_as_an_output(tmp_path: Path) -> None:
    output = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    error = refused(model([node("SplitToSequence", "x", "y")], outputs=[output]), tmp_path)
    assert (error.code, "a sequence" in error.message) == ("onnx_unsupported_output", True)


def test_an_output_that_is_an_input_is_refused(tmp_path: Path) -> None:
    made = model([node("Identity", "x", "y")], outputs=[tensor("y"), tensor("x")])
    assert refused(made, tmp_path).code in {"onnx_unsupported_output", "onnx_invalid"}


@pytest.mark.parametrize(("wanted", "dims"), [("sometimes", [None, 2]), ("stack", [])])
def test_a_batch_override_that_cannot_be_is_refused(tmp_path: Path, wanted: str, dims: list[int | None]) -> None:
    made = model([node("Identity", "x", "y")], [tensor("x", dims)], [tensor("y", dims)])
    made.metadata_props.add(key="portside.batch", value=wanted)
    assert refused(made, tmp_path).code == "onnx_invalid_metadata"
