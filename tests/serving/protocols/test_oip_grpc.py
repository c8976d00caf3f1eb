"""gRPC's messages without a transport: what is answered, and that every mistake of a client has its code."""

import random
import time
from typing import Any

import numpy as np
import pytest

from serving.problems import Problem
from serving.protocols.grpc_status import Code, code_of
from serving.protocols.oip_grpc import CONTENTS, InferenceService
from serving.protocols.surface import ReplicaSurface
from serving.protocols.tensors import TensorModel
from serving.score import Scorer
from serving.signature import Datatype, InputField
from tests.serving.models import IDENTITY, double_scorer, echo_scorer, scalar
from tests.serving.protocols.grpc_messages import MESSAGES, infer_request, message, raw_tensor, read

NAMED = {"name": "iris"}
OTHERS = (
    "ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics", "LogSettings", "TraceSetting", "RepositoryIndex",
)  # fmt: skip


def service_of(scorer: Scorer | None) -> InferenceService:
    model = None if scorer is None else TensorModel(scorer)
    return InferenceService(ReplicaSurface(IDENTITY, lambda part: None if part else model, list, lambda: True, "9.9"))


def infer(request: Any, scorer: Scorer | None = None) -> Any:
    answer = service_of(scorer or double_scorer()).answer("ModelInfer", request.SerializeToString())
    return read("ModelInferResponse", answer)


def ask(method: str, /, **fields: object) -> Any:
    answer = service_of(double_scorer()).answer(method, message(f"{method}Request", **fields))
    return read(f"{method}Response", answer)


def refused(request: Any, scorer: Scorer | None = None) -> tuple[Code, str]:
    with pytest.raises(Problem) as caught:
        infer(request, scorer)
    return code_of(caught.value), caught.value.detail


def test_raw_tensors_are_answered_raw_with_the_id() -> None:
    answer = infer(infer_request(id="7"))
    assert (answer.model_name, answer.model_version, answer.id) == ("iris", "3", "7")
    assert [(output.name, output.datatype, list(output.shape)) for output in answer.outputs] == [("y", "FP32", [2, 2])]
    assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == [2, 4, 6, 8]


@pytest.mark.parametrize("datatype", [*CONTENTS, "BYTES"])
def test_typed_contents_are_the_same_as_raw_ones(datatype: Datatype) -> None:
    scorer = echo_scorer(scalar("a", datatype))
    field = "bytes_contents" if datatype == "BYTES" else CONTENTS[datatype][0]
    values = [b"x", "ü".encode()] if datatype == "BYTES" else [True, False] if datatype == "BOOL" else [1, 0]
    typed = MESSAGES["ModelInferRequest"](model_name="iris")
    getattr(typed.inputs.add(name="a", datatype=datatype, shape=[2]).contents, field).extend(values)
    answer = infer(typed, scorer)
    raw = MESSAGES["ModelInferRequest"](model_name="iris", raw_input_contents=answer.raw_output_contents)
    raw.inputs.add(name="a", datatype=datatype, shape=[2])
    assert infer(raw, scorer).raw_output_contents == answer.raw_output_contents


def test_half_precision_travels_raw_only() -> None:
    scorer = echo_scorer(scalar("a", "FP16"))
    request = MESSAGES["ModelInferRequest"](model_name="iris")
    raw_tensor(request, "a", "FP16", np.array([0.5, np.nan], np.float16))
    assert infer(request, scorer).raw_output_contents == request.raw_input_contents
    del request.raw_input_contents[:]
    assert refused(request, scorer) == (Code.INVALID_ARGUMENT, "the input 'a' is FP16, which has no typed contents")


def test_wanted_outputs_classification_and_parameters() -> None:
    request = infer_request()
    request.parameters["priority"].int64_param = 3
    request.outputs.add(name="y").parameters["classification"].int64_param = 1
    answer = infer(request)
    assert answer.outputs[0].datatype == "BYTES"
    assert b"4.000000:1" in answer.raw_output_contents[0]
    request.parameters["triton_enable_empty_final_response"].bool_param = True
    assert infer(request).parameters["triton_final_response"].bool_param is True


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda request: request.raw_input_contents.append(b""), "1 inputs and 2 raw_input_contents"),
        (lambda request: request.inputs.add(name="z"), "2 inputs and 1 raw_input_contents"),
        (lambda request: request.inputs[0].contents.fp32_contents.append(1), "beside raw_input_contents"),
        (lambda request: request.raw_input_contents.__setitem__(0, b"1234567"), "has 7 bytes"),
        (lambda request: request.inputs[0].shape.__setitem__(0, -1), "expected [-1, 2]"),
        (lambda request: request.inputs[0].shape.__setitem__(0, 2**62), "has 16 bytes"),
        (lambda request: request.inputs[0].shape.append(1), "expected [-1, 2]"),
        (lambda request: setattr(request.inputs[0], "datatype", "FP64"), "expected FP32"),
        (lambda request: setattr(request.inputs[0], "name", "q"), "unknown input 'q'"),
        (lambda request: request.outputs.add(name="q"), "unknown output 'q'"),
        (lambda request: request.outputs.add(name="y").parameters["classification"], "must be an integer"),
        (lambda request: request.inputs[0].parameters["shared_memory_region"], "shared memory"),
        (lambda request: request.outputs.add(name="y").parameters["shared_memory_region"], "shared memory"),
        (lambda request: request.inputs[0].shape.extend([1] * 100), "'x' has 102 dimensions"),
        (lambda request: [request.inputs.add() for _ in range(20)], "21 inputs; the model has 1"),
        (lambda request: [request.outputs.add() for _ in range(20)], "20 outputs; the model has 1"),
        (lambda request: request.raw_input_contents.extend([b""] * 20), "21 raw_input_contents; the model has 1"),
    ],
)
def test_a_request_that_lies_is_refused(change: Any, words: str) -> None:
    request = infer_request()
    change(request)
    code, detail = refused(request)
    assert (code, words in detail) == (Code.INVALID_ARGUMENT, True), detail


@pytest.mark.parametrize("more", [b"\x2a\x00", b"\x32\x00", b"\x3a\x00", b"\xa3\x06\xa4\x06"])
def test_a_crowd_of_empty_tensors_is_refused_before_it_is_parsed(more: bytes) -> None:
    crowd = message("ModelInferRequest", model_name="iris") + more * 2**22
    with pytest.raises(Problem) as caught:
        service_of(double_scorer()).answer("ModelInfer", crowd)
    assert code_of(caught.value) is Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("version", ["", "3", "a part"])
def test_the_version_is_read_from_the_head_of_a_message(version: str) -> None:
    request = infer_request([1] * 100, id="7", model_version=version)
    request.parameters["priority"].int64_param = 3
    service, sent = service_of(double_scorer()), request.SerializeToString()
    assert service.version_asked(sent) == version
    assert service.version_asked(sent[:20] + b"\x2a\xff\xff") == version  # nobody looks at what follows
    crowd = sent + b"\x2a\x00" * 2**22
    taken_s = []
    for _ in range(5):  # a garbage collection may come in between
        begun = time.thread_time()
        assert service.version_asked(crowd) == version
        taken_s.append(time.thread_time() - begun)
    assert min(taken_s) < 0.01


def test_no_head_of_a_message_makes_the_look_fail() -> None:
    chance, service = random.Random(7), service_of(double_scorer())
    for _ in range(1000):
        service.version_asked(chance.randbytes(chance.randrange(40)))


def test_contents_of_another_type_than_the_datatype_are_refused() -> None:
    request = MESSAGES["ModelInferRequest"](model_name="iris")
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    tensor.contents.fp64_contents.extend([1, 2])
    assert "has fp64_contents; expected fp32_contents" in refused(request)[1]
    tensor.contents.ClearField("fp64_contents")
    assert "has 0 values" in refused(request)[1]


def test_a_small_integer_that_does_not_fit_is_refused() -> None:
    request = MESSAGES["ModelInferRequest"](model_name="iris")
    request.inputs.add(name="a", datatype="INT8", shape=[1]).contents.int_contents.append(128)
    assert "does not fit into INT8" in refused(request, echo_scorer(scalar("a", "INT8")))[1]


def test_a_model_or_version_that_is_not_here_is_not_found() -> None:
    assert refused(infer_request(model="rose")) == (
        Code.NOT_FOUND,
        "Request for unknown model: 'rose' is not found",
    )
    assert refused(infer_request(model_version="9"))[0] is Code.NOT_FOUND
    assert infer(infer_request(model_version="3")).model_version == "3"


def test_a_model_that_is_still_loading_is_unavailable() -> None:
    service = service_of(None)
    with pytest.raises(Problem) as caught:
        service.answer("ModelInfer", infer_request().SerializeToString())
    assert code_of(caught.value) is Code.UNAVAILABLE
    answer = read("ModelReadyResponse", service.answer("ModelReady", message("ModelReadyRequest", **NAMED)))
    assert answer.ready is False


def test_metadata_configuration_and_statistics_tell_the_model() -> None:
    metadata = ask("ModelMetadata", **NAMED)
    assert (metadata.platform, list(metadata.versions)) == ("onnx_onnxv1", ["3"])
    assert [(each.name, each.datatype, list(each.shape)) for each in metadata.inputs] == [("x", "FP32", [-1, 2])]
    config = ask("ModelConfig", **NAMED).config
    assert (config.name, list(config.input[0].dims), config.max_batch_size > 0) == ("iris", [2], True)
    service = service_of(double_scorer())
    service.answer("ModelInfer", infer_request().SerializeToString())
    for asked in ({}, NAMED, {**NAMED, "version": "3"}):
        data = service.answer("ModelStatistics", message("ModelStatisticsRequest", **asked))
        (entry,) = read("ModelStatisticsResponse", data).model_stats
        assert (entry.name, entry.inference_count, entry.inference_stats.success.count) == ("iris", 2, 1)


def test_the_server_tells_of_itself() -> None:
    assert ask("ServerLive").live
    assert ask("ServerReady").ready
    assert (ask("ServerMetadata").name, ask("ServerMetadata").version) == ("portside", "9.9")
    (entry,) = ask("RepositoryIndex", ready=True).models
    assert (entry.name, entry.version, entry.state) == ("iris", "3", "READY")


def test_loading_is_done_already_and_unloading_refused_in_both_spellings() -> None:
    assert ask("RepositoryModelLoad", model_name="iris").isLoaded
    assert ask("RepositoryModelLoad", repository_name="iris").model_name == "iris"  # where KServe has the name
    for method, name, code in (
        ("RepositoryModelLoad", "rose", Code.NOT_FOUND),
        ("RepositoryModelUnload", "iris", Code.FAILED_PRECONDITION),
        ("RepositoryModelUnload", "rose", Code.NOT_FOUND),
    ):
        with pytest.raises(Problem) as caught:
            ask(method, model_name=name)
        assert code_of(caught.value) is code


@pytest.mark.parametrize("method", ["LogSettings", "TraceSetting"])
def test_settings_are_told_and_only_left_as_they_are(method: str) -> None:
    service = service_of(double_scorer())
    told = service.answer(method, b"")
    settings = read(f"{method}Response", told)
    assert settings.settings["log_format" if method == "LogSettings" else "trace_level"].ByteSize() > 0
    assert read(f"{method}Response", service.answer(method, told)) == settings  # both have the same fields
    if method == "LogSettings":
        settings.settings["log_info"].bool_param = False
    else:
        settings.settings["trace_level"].value[:] = ["TENSORS"]
    with pytest.raises(Problem, match="cannot be changed"):
        service.answer(method, settings.SerializeToString())


def test_shared_memory_is_empty_and_cannot_be_registered() -> None:
    for kind in ("System", "Cuda"):
        assert len(ask(f"{kind}SharedMemoryStatus").regions) == 0
        ask(f"{kind}SharedMemoryUnregister", name="")
        with pytest.raises(Problem) as caught:
            ask(f"{kind}SharedMemoryRegister", name="a")
        assert code_of(caught.value) is Code.UNIMPLEMENTED


def test_no_bytes_make_the_service_fail() -> None:
    """Random bytes, requests cut off or with bytes changed, and counts that lie: a problem or an answer."""
    chance = random.Random(6)
    scorer = echo_scorer(InputField("x", "FP32", (-1, 2)), scalar("s", "BYTES"), scalar("n", "INT8"))
    service = service_of(scorer)
    codes: set[Code] = set()
    for _ in range(1500):
        request = MESSAGES["ModelInferRequest"](model_name="iris")
        for name, datatype in chance.sample([("x", "FP32"), ("s", "BYTES"), ("n", "INT8"), ("q", "NO")], 3):
            shape = [chance.choice([-1, 0, 1, 2, 2**31, 2**63 - 1]) for _ in range(chance.randrange(3))]
            tensor = request.inputs.add(name=name, datatype=datatype, shape=shape)
            if chance.random() < 0.4:
                tensor.contents.fp32_contents.extend([chance.random()] * chance.randrange(4))
                tensor.contents.bytes_contents.extend([chance.randbytes(2)] * chance.randrange(3))
        if chance.random() < 0.6:
            request.raw_input_contents.extend(
                chance.randbytes(chance.randrange(20)) for _ in range(chance.randrange(5))
            )
        data = bytearray(request.SerializeToString())
        for _ in range(chance.randrange(3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        sent = bytes(data[: chance.randrange(len(data) + 1)]) if chance.random() < 0.3 else bytes(data)
        method = chance.choice(["ModelInfer"] * 6 + [*OTHERS])
        try:
            service.answer(method, chance.randbytes(30) if chance.random() < 0.1 else sent)
        except Problem as problem:
            codes.add(code_of(problem))
    assert codes == {Code.INVALID_ARGUMENT, Code.NOT_FOUND}
