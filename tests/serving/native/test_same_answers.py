"""Whatever comes: the compiled way answers the bytes that Python's way answers, or leaves the request to it."""

import asyncio
import json
import math
from pathlib import Path

import pytest

from serving.application import ModelServer
from serving.native.library import Library
from serving.native.way import QuickWay
from serving.parts.loading import load_parts
from serving.telemetry import resident_bytes
from tests.serving.native.both_ways import (
    DEADLINE_S,
    ECHOED,
    IDENTITY,
    INFER,
    KSERVE,
    PREDICT,
    BothWays,
    doubles,
    echo_model,
    request,
    telling_model,
    without_labels,
)
from tests.serving.native.conftest import Serve
from tests.serving.native.requests import Chance

SEED, REQUESTS = 6, 600
EXAMPLES = (
    "iris.onnx", "diabetes.onnx", "wine-clusters.onnx", "breast-cancer-anomaly.onnx",
    "digits-image.onnx", "digits-pca.onnx",
    "iris.pmml", "iris-logistic.pmml", "diabetes.pmml", "wine-clusters.pmml", "breast-cancer-anomaly.pmml",
)  # fmt: skip


@pytest.mark.parametrize("example", EXAMPLES)
async def test_requests_by_chance_to_each_example_are_answered_alike(
    example: str, served: Serve, repository_root: Path
) -> None:
    both = served(repository_root / "examples" / example)
    chance = Chance(both.scorer.signature, SEED)
    answered = 0
    for _ in range(REQUESTS):
        answered += await both.compare(chance.request())
    # Else they prove nothing. Of many inputs, or of one that takes few values, more requests are wrong ones.
    assert answered > REQUESTS // (20 if example.endswith(".pmml") else 5)


async def test_what_a_pmml_field_allows_is_compiled_up_to_its_margins(served: Serve, repository_root: Path) -> None:
    both = served(repository_root / "examples" / "iris-logistic.pmml")  # (0, 30]
    beyond = (math.nextafter(30, 31), 0, -0.0, -1, 2**53 + 1, 10**30, 1e300, None, "1")
    for length in (5e-324, 0.1, 30, 30.0, 4.7, 1):
        assert await both.compare(_logistic(length))
    assert not any([await both.compare(_logistic(length)) for length in beyond])
    assert not await both.compare(request(b'{"inputs":{"petal_length":1.5}}'))


def _logistic(length: object) -> bytes:
    return request(json.dumps({"inputs": {"petal_length": length, "petal_width": 1.5}}).encode())


async def test_what_pmml_cannot_answer_at_once_is_left_to_python(served: Serve, repository_root: Path) -> None:
    assert not served(repository_root / "examples" / "wine-pca.pmml").compiled(request(b'{"inputs":{}}'))
    both = served(repository_root / "examples" / "iris.pmml")
    record = {field.name: 1.5 for field in both.scorer.signature.inputs}
    assert await both.compare(request(json.dumps({"inputs": [record] * 20}).encode()))
    assert not await both.compare(request(json.dumps({"inputs": {**record, next(iter(record)): None}}).encode()))


async def test_the_best_of_probabilities_is_the_label_that_python_finds(
    served: Serve, tmp_path: Path, repository_root: Path
) -> None:
    both = served(without_labels(repository_root / "examples" / "iris.onnx", tmp_path / "iris.onnx"))
    labels = set()
    for row in (
        [5.1, 3.5, 1.4, 0.2],
        [6.0, 2.7, 4.2, 1.3],
        [7.2, 3.0, 6.0, 2.2],
        [1e38, 1e38, 1e38, 1e38],
        [0, 0, 0, 0],
    ):
        asked = request(json.dumps({"inputs": {"float_input": row}}).encode())
        assert await both.compare(asked)
        labels.add(str(both.compiled(asked)).partition('"label":"')[2].partition('"')[0])
    assert labels >= {"setosa", "versicolor", "virginica"}


async def test_each_surface_is_answered_by_compiled_code(served: Serve, repository_root: Path) -> None:
    both = served(repository_root / "examples" / "iris.onnx")
    row = [5.1, 3.5, 1.4, 0.2]
    tensor = {"name": "float_input", "shape": [1, 4], "datatype": "FP32", "data": row}
    asked = [
        (PREDICT, {"inputs": {"float_input": row}}),
        (PREDICT, {"inputs": [{"float_input": row}] * 3}),
        (PREDICT, {"columns": ["float_input"], "data": [[row], [row]]}),
        (INFER, {"id": "7", "parameters": {}, "inputs": [{**tensor, "data": [row]}]}),
        (INFER, {"inputs": [tensor]}),
        (KSERVE, {"instances": [row, row]}),
        (KSERVE, {"instances": [{"float_input": row}]}),
    ]
    assert [await both.compare(request(json.dumps(body).encode(), target)) for target, body in asked] == [True] * 7


@pytest.mark.parametrize("width", [None, 1, 2])
async def test_requests_by_chance_of_every_datatype_are_answered_alike(
    width: int | None, served: Serve, tmp_path: Path
) -> None:
    both = served(echo_model(tmp_path / "echo.onnx", width=width))
    chance = Chance(both.scorer.signature, SEED)
    answered = 0
    for _ in range(REQUESTS):
        answered += await both.compare(chance.request())
    assert answered > REQUESTS // 10


async def test_every_double_is_read_and_written_as_python_does(served: Serve, tmp_path: Path) -> None:
    both = served(echo_model(tmp_path / "echo.onnx", ["FP64"], None))
    numbers = doubles(SEED, 2_000).tolist()
    for begin in range(0, len(numbers), 200):
        data = numbers[begin : begin + 200]
        inputs = [{"name": "in_FP64", "shape": [len(data)], "datatype": "FP64", "data": data}]
        assert await both.compare(request(json.dumps({"inputs": inputs}).encode(), INFER))


async def test_numbers_of_any_length_are_rounded_as_python_does(served: Serve, tmp_path: Path) -> None:
    both = served(echo_model(tmp_path / "echo.onnx", ["FP32", "FP64"], None))
    texts = ["0." + "123456789" * length for length in range(1, 12)]
    texts += ["5e-324", "2.2250738585072011e-308", "1.7976931348623157e308", "9007199254740993.0", "8.5e22", "1e-22"]
    for text in texts:
        body = f'{{"inputs":{{"in_FP32":{text if "e" not in text else 1},"in_FP64":{text}}}}}'
        assert await both.compare(request(body.encode()))


async def test_a_request_cut_short_in_its_head_is_left_to_python(served: Serve, repository_root: Path) -> None:
    both = served(repository_root / "examples" / "iris.onnx")
    whole = request(b'{"inputs":[{"float_input":[5.1,3.5,1.4,0.2]}]}')
    assert await both.compare(whole)
    body = whole.index(b"\r\n\r\n") + 4
    assert {both.compiled(whole[:end]) for end in range(body)} == {None}
    assert {both.compiled(whole[:end]) for end in range(body, len(whole))} == {b""}  # it waits for the rest
    assert both.compiled(whole + b"\r\n") is both.compiled(whole + whole) is None


async def test_a_length_that_lies_is_left_to_python(served: Serve, repository_root: Path) -> None:
    both = served(repository_root / "examples" / "iris.onnx")
    body = b'{"inputs":{"float_input":[5.1,3.5,1.4,0.2]}}'
    for length in (b"0", b"-1", b"+44", b"044", b"43", b"99999999999999999999", b"4 4", b"0x2c", b""):
        head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %b\r\n\r\n" % length
        assert both.compiled(head + body) is None


async def test_only_the_right_token_is_answered(served: Serve, repository_root: Path) -> None:
    both = served(repository_root / "examples" / "iris.onnx", token="secret")
    body = b'{"inputs":{"float_input":[5.1,3.5,1.4,0.2]}}'
    assert await both.compare(request(body, headers=(b"host: x", b"authorization: Bearer secret")))
    for given in (b"Bearer secreu", b"Bearer", b"bearer secret", b"Bearer secretx", b""):
        assert both.compiled(request(body, headers=(b"host: x", b"authorization: " + given))) is None
    assert both.compiled(request(body)) is None


async def test_no_value_slips_from_one_datatype_into_another(served: Serve, tmp_path: Path) -> None:
    both = served(echo_model(tmp_path / "echo.onnx", width=None))
    right: dict[str, object] = {f"in_{name}": name == "BOOL" or 1 for name in ECHOED}
    assert await both.compare(request(json.dumps({"inputs": right}).encode()))
    for name in right:
        for value in (None, "1", 1.5, -1, 256, 2**16, 2**32, 2**63, 2**64, 10**400, True, 1, 0, [1], [True], 1e39):
            await both.compare(request(json.dumps({"inputs": {**right, name: value}}).encode()))


async def test_more_than_one_answer_keeps_is_left_to_python(served: Serve, tmp_path: Path) -> None:
    both = served(echo_model(tmp_path / "echo.onnx", ["FP64"], None))
    many = [{"in_FP64": 1.0}] * 257
    assert both.compiled(request(json.dumps({"inputs": many}).encode())) is None
    coded = (b"host: x", b"accept-encoding: gzip")
    few, longer = ({"inputs": [{"in_FP64": 0.1}] * count} for count in (10, 200))
    assert await both.compare(request(json.dumps(few).encode(), headers=coded))
    assert both.compiled(request(json.dumps(longer).encode(), headers=coded)) is None  # it may be compressed


async def test_what_is_answered_is_counted_as_python_counts_it(served: Serve, repository_root: Path) -> None:
    both = served(repository_root / "examples" / "iris.onnx")
    one = {"inputs": {"float_input": [5.1, 3.5, 1.4, 0.2]}}
    for count in range(3_000):  # more than the library keeps figures of
        body = one if count % 3 else {"inputs": [one["inputs"]] * 2}
        assert both.compiled(request(json.dumps(body).encode()))
    told = both.scorer.statistics.entry("iris", "3")
    assert (told["inference_count"], told["execution_count"]) == (4_000, 3_000)
    sizes = {each["batch_size"]: each["compute_infer"]["count"] for each in told["batch_stats"]}  # type: ignore[attr-defined]
    assert sizes == {1: 2_000, 2: 1_000}


async def test_a_model_that_was_slow_at_first_is_taken_up_once_it_is_quick(
    library: Library, repository_root: Path
) -> None:
    scorer = load_parts(repository_root / "examples" / "iris.onnx", None, IDENTITY, 1).default.scorer
    way = QuickWay(library)
    server = ModelServer(IDENTITY, None, 1, quick=way)
    server.serve(scorer, 0.005)
    both, asked = BothWays(server, way, scorer), request(b'{"inputs":{"float_input":[5.1,3.5,1.4,0.2]}}')
    assert (way.knows(scorer), both.compiled(asked)) == (True, None)
    async with asyncio.timeout(DEADLINE_S):
        while both.compiled(asked) is None:
            last = await both.pythons(asked)
    assert both.compiled(asked) == last
    slow = QuickWay(library)
    ModelServer(IDENTITY, None, 1, quick=slow).serve(scorer, 0.05)
    assert not slow.knows(scorer)


async def test_memory_does_not_grow_with_requests(served: Serve, repository_root: Path) -> None:
    both = served(repository_root / "examples" / "iris.onnx")
    chance = Chance(both.scorer.signature, SEED)
    requests = [chance.request() for _ in range(200)]
    for each in requests * 20:
        both.compiled(each)

    def grown_bytes() -> int:
        before = resident_bytes()
        for each in requests * 25:
            both.compiled(each)
        return resident_bytes() - before

    # Some may be that of others here: a Java which still compiles what tests before this one asked.
    assert any(grown_bytes() < 2**18 for _ in range(16))


async def test_a_model_of_too_many_words_is_left_to_python(served: Serve, tmp_path: Path) -> None:
    both = served(telling_model(tmp_path / "words.onnx"))
    asked = [request(json.dumps({"inputs": {"x": number}}).encode()) for number in range(1_100)]
    assert [await both.compare(each) for each in asked[:3]] == [True] * 3
    assert [both.compiled(each) is None for each in asked[3:]].count(True) == 1_100 - 1_024
    assert both.compiled(asked[0]) is None  # as each would be asked twice
