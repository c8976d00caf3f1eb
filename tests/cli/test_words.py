"""How documents of the API read in a line."""

from datetime import UTC, datetime, timedelta

import pytest

from cli.comparison import difference
from cli.upload import size_in_words
from cli.words import (
    age_in_words,
    answer_in_words,
    field_names,
    field_rows,
    minute_in_a_line,
    overview_in_words,
    seconds_in_words,
    window_in_words,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (86400 * 9, "9d"), (-5, "0s")],
)
def test_an_age_has_one_unit(seconds: int, words: str) -> None:
    assert age_in_words((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == words


@pytest.mark.parametrize(("seconds", "words"), [(0.0031, "3.1 ms"), (0.1, "0.10 s"), (12.345, "12.35 s")])
def test_durations_are_readable(seconds: float, words: str) -> None:
    assert seconds_in_words(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(30, "30s"), (60, "1m"), (90, "90s"), (300, "5m"), (3600, "1h"), (172_800, "2d")]
)
def test_a_window_has_the_largest_unit_that_divides_it(seconds: int, words: str) -> None:
    assert window_in_words(seconds) == words


@pytest.mark.parametrize(
    ("latency", "words"),
    [({"p50": 3.1, "p99": 250.0}, ", p50 3.1 ms, p99 0.25 s"), ({"p50": None, "p99": None}, "")],
)
def test_a_services_last_minute_is_a_line(latency: dict[str, float | None], words: str) -> None:
    minute = {"window_s": 60, "count": 120, "rps": 2.0, "errors": 1, "latency_ms": latency}
    assert minute_in_a_line({"windows": [minute]}) == f"last 1m: 120 predictions, 2 per second, 1 errors{words}"


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (14_000, "14 kB"), (2**30, "1.1 GB")]
)
def test_sizes_are_readable(size: int, words: str) -> None:
    assert size_in_words(size) == words


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ({"label": "setosa", "probabilities": {"setosa": 0.98}}, "setosa (98%)"),
        ({"label": 1, "probabilities": None}, "1"),
        ({"value": 152.3333}, "value 152.3"),
        ({"components": [1.0, 2.0, 3.0, 4.0, 5.0]}, "components [1, 2, 3, 4, …]"),
        ({"y": [None, 1.0]}, "y [null, 1]"),
        ({"cluster": "2", "distances": {"0": 1}}, "cluster 2, distances {'0': 1}"),
    ],
)
def test_an_answer_is_told_in_a_few_words(output: object, words: str) -> None:
    assert answer_in_words(output) == words


def test_a_version_is_told_in_a_line() -> None:
    version = {
        "format": "onnx",
        "opset": 17,
        "algorithm": {"name": "tree ensemble"},
        "task": "dimension_reduction",
        "producer": {"name": "skl2onnx", "version": "1.20"},
    }
    assert overview_in_words(version) == "ONNX (opset 17), tree ensemble, dimension reduction, by skl2onnx 1.20"


def test_free_sizes_are_told_and_where_no_batch_is_all_of_them() -> None:
    version = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, -1, 3]}]}
    assert field_rows(version)[0][2] == "FP32[?, 3]"
    assert field_rows({**version, "batch": "none"})[0][2] == "FP32[?, ?, 3]"


def test_many_fields_are_cut_short() -> None:
    fields = [{"name": f"x{i}", "datatype": "FP32", "shape": [-1]} for i in range(6)]
    assert field_names(fields) == "x0 FP32, x1 FP32, x2 FP32, x3 FP32 and 2 more"


@pytest.mark.parametrize(
    ("found", "expected"), [(1.00005, 1.0), (1000.05, 1000.0), ({"a": [1, "x"]}, {"a": [1.0, "x"]}), (None, None)]
)
def test_answers_within_the_tolerance_are_the_same(found: object, expected: object) -> None:
    assert difference(found, expected) is None


@pytest.mark.parametrize(
    ("found", "expected", "where"),
    [
        ([{"a": 1.0}, {"a": 1.1}], [{"a": 1.0}, {"a": 1.0}], "outputs[1].a is 1.1"),
        ([1], [1, 2], "outputs has 1 values"),
        ({"a": 1}, {"b": 1}, "outputs has the members ['a']"),
        ("x", 1.0, "outputs is 'x'"),
    ],
)
def test_the_first_difference_is_named(found: object, expected: object, where: str) -> None:
    assert (difference(found, expected) or "").startswith(where)


def test_several_models_are_named_by_their_keys() -> None:
    parts = [{"key": f"p{number}", "is_default": number == 1} for number in range(8)]
    version = {"format": "parts", "opset": 17, "task": "classification", "parts": parts}
    assert overview_in_words(version) == "8 models: p0, p1 (default), p2, p3, p4, p5 …"
    assert overview_in_words({**version, "parts": parts[:2]}) == "2 models: p0, p1 (default)"
