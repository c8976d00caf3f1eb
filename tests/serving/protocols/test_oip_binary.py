"""The binary tensor extension over REST: JSON with bytes behind it, both ways, and headers that lie."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from serving.messages import Response
from serving.problems import Problem
from serving.protocols.oip_rest import OipModel, error_text
from serving.score import Scorer
from serving.signature import InputField, OutputField
from tests.serving.conftest import StartServer
from tests.serving.models import IDENTITY, PythonModel, double_scorer, echo_scorer, scalar, signature_of
from tests.serving.wire import Wire, request

HEADER = "inference-header-content-length"
INFER = "/v2/models/iris/infer"
ROWS = np.array([[1, 2], [3, 4]], np.float32)
X = {"name": "x", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": 16}}


@dataclass(frozen=True, slots=True)
class Answer:
    """A response taken apart as a client does it."""

    document: Any
    arrays: Mapping[str, bytes]


def taken_apart(response: Response) -> Answer:
    size = int(response.headers.get(HEADER, len(response.body)))
    document, at = json.loads(response.body[:size]), size
    arrays: dict[str, bytes] = {}
    for output in document["outputs"]:
        length = output.get("parameters", {}).get("binary_data_size")
        if length is not None:
            arrays[output["name"]] = response.body[at : at + length]
            at += length
    assert at == len(response.body)
    assert (HEADER in response.headers) == bool(arrays)
    assert response.content_type == ("application/octet-stream" if arrays else "application/json")
    return Answer(document, arrays)


def infer(document: object, raw: bytes = b"", scorer: Scorer | None = None, **headers: bytes) -> Answer:
    text = json.dumps(document).encode()
    given = {HEADER.encode(): str(len(text)).encode()} if raw else {}
    given |= {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return taken_apart(OipModel(scorer or double_scorer()).infer(text + raw, given))


def refusal(body: bytes, header: bytes | None, scorer: Scorer | None = None) -> str:
    with pytest.raises(Problem) as caught:
        OipModel(scorer or double_scorer()).infer(body, {} if header is None else {HEADER.encode(): header})
    assert caught.value.status in (400, 422)
    return error_text(caught.value)


def test_bytes_in_and_json_out() -> None:
    answer = infer({"inputs": [X]}, ROWS.tobytes())
    assert answer.document["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [2, 4, 6, 8]}]


@pytest.mark.parametrize(
    "asks",
    [
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "y", "parameters": {"binary_data": True}}]},
        {"outputs": [{"name": "y"}], "parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "y", "parameters": {"binary_data": True}}], "parameters": {"binary_data_output": False}},
    ],
)
def test_json_in_and_bytes_out(asks: dict[str, object]) -> None:
    answer = infer({"id": "7", "inputs": [{**X, "parameters": {}, "data": [1, 2, 3, 4]}], **asks})
    assert answer.arrays == {"y": (ROWS * 2).tobytes()}
    assert answer.document == {
        "model_name": "iris",
        "model_version": "3",
        "id": "7",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 2], "parameters": {"binary_data_size": 16}}],
    }


def test_an_output_may_want_json_where_the_others_go_as_bytes() -> None:
    scorer = echo_scorer(scalar("a"), scalar("t", "BYTES"), scalar("b", "INT16"))
    inputs = [
        {"name": "a", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}},
        {"name": "t", "shape": [1], "datatype": "BYTES", "data": ["ü"]},
        {"name": "b", "shape": [1], "datatype": "INT16", "parameters": {"binary_data_size": 2}},
    ]
    outputs = [{"name": "b"}, {"name": "a", "parameters": {"binary_data": False}}, {"name": "t"}]
    raw = np.float64(1.5).tobytes() + b"\x05\x00"
    answer = infer({"inputs": inputs, "outputs": outputs, "parameters": {"binary_data_output": True}}, raw, scorer)
    assert answer.document["outputs"][1] == {"name": "a", "datatype": "FP64", "shape": [1], "data": [1.5]}
    assert answer.arrays == {"b": b"\x05\x00", "t": b"\2\0\0\0\xc3\xbc"}


def test_what_json_does_not_carry_travels_as_bytes() -> None:
    raw = np.array([np.nan, np.inf, -0.0], np.float16).tobytes()
    document = {"inputs": [{"name": "x", "shape": [3], "datatype": "FP16", "parameters": {"binary_data_size": 6}}]}
    scorer = echo_scorer(InputField("x", "FP16", (-1,)))
    document["parameters"] = {"binary_data_output": True}  # type: ignore[assignment]  # members differ
    assert infer(document, raw, scorer).arrays == {"x": raw}


def test_classes_go_as_texts_either_way() -> None:
    signature = signature_of((scalar("x"),), (OutputField("p", "FP32", (-1, 2), "probability", labels=("no", "yes")),))
    scorer = Scorer(signature, PythonModel(lambda _: {"p": np.array([[0.25, 0.75]], np.float32)}), IDENTITY)
    inputs = [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]
    for is_binary in (False, True):
        outputs = [{"name": "p", "parameters": {"classification": 1, "binary_data": is_binary}}]
        answer = infer({"inputs": inputs, "outputs": outputs}, scorer=scorer)
        (told,) = answer.document["outputs"]
        assert (told["datatype"], told["shape"]) == ("BYTES", [1, 1])
        assert told.get("data") == (None if is_binary else ["0.750000:1:yes"])
        assert answer.arrays == ({"p": b"\x0e\0\0\x000.750000:1:yes"} if is_binary else {})


def test_a_body_without_json_is_the_one_input() -> None:
    for raw in (ROWS.tobytes(), ROWS[:1].tobytes()):
        answer = taken_apart(OipModel(double_scorer()).infer(raw, {HEADER.encode(): b"0"}))
        assert answer.arrays["y"] == (np.frombuffer(raw, np.float32) * 2).tobytes()
    texts = taken_apart(OipModel(echo_scorer(scalar("t", "BYTES"))).infer("ü".encode(), {HEADER.encode(): b"0"}))
    assert texts.arrays == {"t": b"\2\0\0\0\xc3\xbc"}
    free = echo_scorer(InputField("x", "UINT8", (-1, -1)))
    document = taken_apart(OipModel(free).infer(b"abc", {HEADER.encode(): b"0"})).document
    assert document["outputs"][0]["shape"] == [1, 3]


@pytest.mark.parametrize(
    ("scorer", "raw", "words"),
    [
        (double_scorer(), bytes(20), "the input 'x' has 20 bytes; FP32 of the shape [2, 2] is 16 bytes"),
        (double_scorer(), b"", "the input 'x' has 0 bytes; FP32 of the shape [1, 2] is 8 bytes"),
        (echo_scorer(scalar("a"), scalar("b")), bytes(8), "this model takes 2 inputs"),
        (echo_scorer(InputField("x", "FP32", (-1, -1, -1))), bytes(8), "cannot be told from a number of bytes"),
        (echo_scorer(InputField("t", "BYTES", (-1, 2))), b"a", "takes [-1, 2]"),
        (echo_scorer(scalar("t", "BYTES")), b"\xff", "not UTF-8"),
    ],
)
def test_a_body_without_json_fits_the_signature(scorer: Scorer, raw: bytes, words: str) -> None:
    assert words in refusal(raw, b"0", scorer)


@pytest.mark.parametrize("header", [b"", b"-1", b"1.5", b"0x10", b" 4", b"4 4", b"\xb2", b"9" * 400, b"1_0"])
def test_a_header_that_is_no_size_is_refused(header: bytes) -> None:
    assert "it must be the size of the JSON in bytes" in refusal(b"{}  ", header)


@pytest.mark.parametrize(
    ("sizes", "extra", "words"),
    [
        ([16], 1, "1 bytes are left behind the inputs"),
        ([15], 0, "1 bytes are left behind the inputs"),
        ([17], 0, "says it has 17 bytes of binary data; 16 are left of the body"),
        ([2**63 - 1], 0, "says it has 9223372036854775807 bytes of binary data; 16 are left"),
        ([10**300], 0, "says it has more than 2^63 bytes of binary data"),
        ([16, 16], 0, "says it has 16 bytes of binary data; 0 are left"),
    ],
)
def test_sizes_that_lie_are_refused(sizes: list[int], extra: int, words: str) -> None:
    inputs = [{**X, "parameters": {"binary_data_size": size}} for size in sizes]
    text = json.dumps({"inputs": inputs}).encode()
    assert words in refusal(text + ROWS.tobytes() + bytes(extra), str(len(text)).encode())


def test_a_header_that_cuts_elsewhere_is_refused() -> None:
    text = json.dumps({"inputs": [X]}).encode()
    for header in (str(len(text) - 1), str(len(text) + 1), "1"):
        assert "the body is not JSON" in refusal(text + ROWS.tobytes(), header.encode())
    assert "says that the JSON has 999 bytes; the body has" in refusal(text, b"999")
    assert "0 are left of the body; the bytes follow the JSON" in refusal(text, None)


def test_no_request_does_more_than_be_refused() -> None:
    """A thousand mutations of right requests: each is answered, or refused with a reason."""
    chance, model = random.Random(11), OipModel(echo_scorer(scalar("t", "BYTES"), InputField("x", "FP32", (-1, 2))))
    raw = b"\1\0\0\0a\0\0\0\0" + ROWS.tobytes()
    texts = {"name": "t", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 9}}
    answered = 0
    for _ in range(1_500):
        document = {"inputs": [dict(texts), dict(X)], "parameters": {"binary_data_output": True}}
        tensor: dict[str, object] = chance.choice(document["inputs"])  # type: ignore[arg-type]  # the list of them
        hostile: list[object] = [-1, 0, 2**31, 2**32, 2**63 - 1, 2**63, 10**30, 1.5, None, "2", [], True]
        match chance.randrange(7):
            case 0:
                tensor["shape"] = [chance.choice(hostile) for _ in range(chance.randrange(4))]
            case 1:
                tensor["parameters"] = {"binary_data_size": chance.choice([*hostile, 8, 10, 25])}
            case 2:
                tensor["datatype"] = chance.choice(["FP64", "BOOL", "BF16", "", "BYTES", "FP32"])
            case 3:
                tensor["data"] = chance.choice([None, [], [1, 2], [[1], [2, 3]], "a", {}])
        text = bytearray(json.dumps(document).encode())
        header = str(len(text) + chance.choice([0, 0, 0, 0, 1, -1, 10**6])).encode()
        body = text + raw
        for _ in range(chance.choice([0, 0, 1, 3])):
            body[chance.randrange(len(body))] = chance.randrange(256)
        try:
            response = model.infer(bytes(body), {HEADER.encode(): header})
        except Problem as problem:
            assert problem.status in (400, 422)  # noqa: PT017  (both ways out are right)
        else:
            answered += response.status == 200
    assert 50 < answered < 1_000


def test_every_answer_is_counted_once() -> None:
    scorer = double_scorer()
    infer({"inputs": [X]}, ROWS.tobytes(), scorer)
    entry: Any = scorer.statistics.entry("iris", "3")
    counted = {name: each["count"] for name, each in entry["inference_stats"].items()}
    assert (entry["inference_count"], counted["success"], counted["compute_infer"]) == (2, 1, 1)


async def test_binary_tensors_go_over_the_wire(wire: Wire) -> None:
    text = json.dumps({"inputs": [X], "parameters": {"binary_data_output": True}}).encode()
    wire.send(request("POST", INFER, text + ROWS.tobytes(), inference_header_content_length=str(len(text))))
    reply = await wire.reply()
    size = int(reply.headers[HEADER])
    assert (reply.status, reply.headers["content-type"]) == (200, "application/octet-stream")
    assert reply.body[size:] == (ROWS * 2).tobytes()


async def test_a_chunked_body_may_cut_anywhere(wire: Wire) -> None:
    text = json.dumps({"inputs": [X]}).encode()
    body = text + ROWS.tobytes()
    head = f"POST {INFER} HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n{HEADER}: {len(text)}\r\n\r\n"
    wire.send(head.encode())
    for at in range(0, len(body), 7):
        wire.send(b"%x\r\n%b\r\n" % (len(body[at : at + 7]), body[at : at + 7]))
    wire.send(b"0\r\n\r\n")
    assert (await wire.reply()).json["outputs"][0]["data"] == [2, 4, 6, 8]


async def test_every_lie_is_a_400_with_one_error_text(start_server: StartServer) -> None:
    connected = await start_server(double_scorer())
    wire = await connected()
    text = json.dumps({"inputs": [X]}).encode()
    for body, header in ((text, "5000"), (text + ROWS.tobytes()[1:], str(len(text))), (b"", "0"), (text, "-1")):
        wire.send(request("POST", INFER, body, inference_header_content_length=header))
        reply = await wire.reply()
        assert (reply.status, list(reply.json)) == (400, ["error"])
    wire.send(request("POST", "/predict", text, inference_header_content_length=str(len(text))))
    assert (await wire.reply()).status == 415
