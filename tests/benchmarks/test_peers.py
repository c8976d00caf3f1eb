"""The comparison with other servers, where it computes: what h2load says, requests that are written by hand, ratios."""

import struct
from typing import Any

import pytest

from benchmarks.peers import forest
from benchmarks.peers.checks import numbers
from benchmarks.peers.command import chosen
from benchmarks.peers.contenders import Sample
from benchmarks.peers.load import read
from benchmarks.peers.plan import BARS, WORKLOADS, Bar
from benchmarks.peers.report import as_figures
from benchmarks.peers.rounds import Results, middle
from benchmarks.peers.workloads import oip_binary, oip_grpc
from benchmarks.platform import Broken

SAID = """
finished in 500.00ms, 8.00 req/s, 1.2KB/s
requests: 4 total, 4 started, 4 done, {succeeded} succeeded, {failed} failed, 0 errored, 0 timeout
status codes: 4 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 1.2KB (1304) total, 312B (312) headers (space savings 0.00%), 896B (896) data
"""
LOG = ["1\t200\t100", "2\t200\t300", "3\t200\t200", "4\t-1\t9000", "5\t200\t400"]
FAST = Bar("ours", "json", "per_s", "replica", "mlserver", 15)


def sample(per_s: float) -> Sample:
    return Sample(per_s, 1.0, 2.0, 3.0, 4)


def test_rates_and_exact_quantiles_are_read_from_what_h2load_says_and_logs() -> None:
    found = read(SAID.format(succeeded=4, failed=0), LOG)
    assert (found.per_s, found.p50_us, found.p99_us, found.body_bytes) == (8.0, 200.0, 400.0, 896)


@pytest.mark.parametrize(
    ("said", "log", "why"),
    [
        (SAID.format(succeeded=3, failed=1), LOG, "1 of 4 requests failed"),
        (SAID.format(succeeded=0, failed=0), [], "no request was answered"),
        ("h2load: unrecognized option", LOG, "said something else"),
    ],
)
def test_a_load_that_shows_nothing_gives_no_figure(said: str, log: list[str], why: str) -> None:
    with pytest.raises(Broken, match=why):
        read(said, log)


def test_a_grpc_request_is_the_message_that_clients_send_in_a_frame() -> None:
    ask = oip_grpc("m", "x", [1, 300], [[1.0, 2.0]])
    described = b"\x0a\x01x" + b"\x12\x04FP32" + b"\x1a\x03\x01\xac\x02"
    message = b"\x0a\x01m" + b"\x2a" + bytes([len(described)]) + described + b"\x3a\x08" + struct.pack("<2f", 1, 2)
    assert ask.body == b"\0" + struct.pack(">I", len(message)) + message


def test_a_binary_request_says_where_its_header_ends() -> None:
    ask = oip_binary("/v2/models/m/infer", "x", [1, 1], b"\0\0\x80?")
    length = int(ask.headers["inference-header-content-length"])
    assert ask.body[:length].endswith(b"}")
    assert ask.body[length:] == b"\0\0\x80?"


def test_numbers_of_an_answer_leave_out_what_describes_it() -> None:
    answer = {"outputs": [{"shape": [1, 2], "data": [0.5, 1], "parameters": {"size": 8}}], "ok": True, "id": "7"}
    assert list(numbers(answer)) == [0.5, 1]


def test_a_ratio_is_the_median_of_the_ratios_of_rounds_that_have_both() -> None:
    results = Results()
    results.samples["json", "replica"] = {1: sample(20), 2: sample(90), 3: sample(10)}
    results.samples["json", "mlserver"] = {1: sample(1), 3: sample(1)}
    assert results.figure(FAST) == 15
    assert middle(results.samples["json", "replica"].values()).per_s == 20


@pytest.mark.parametrize(
    ("bar", "figure", "is_met", "words"),
    [
        (FAST, 15.0, True, "15.00x"),
        (FAST, 14.9, False, "14.90x"),
        (Bar("p99", "half", "p99_us", "replica", "mlserver", 0.2, is_ceiling=True), 0.3, False, "0.30x"),
        (Bar("added", "idle", "p50_us", "a", "b", 150, is_ceiling=True, is_difference=True), 99.6, True, "100 µs"),
    ],
)
def test_a_bar_is_a_floor_or_a_ceiling(bar: Bar, figure: float, is_met: bool, words: str) -> None:
    assert (bar.is_met(figure), bar.in_words(figure)) == (is_met, words)


def test_a_peer_that_did_not_start_is_a_bar_missed_with_its_reason() -> None:
    results = Results(failures={("grpc", "mlserver"): "it was not ready"})
    results.samples["grpc", "grpc"] = {1: sample(1)}
    (figure,) = as_figures(results, ["grpc"], {})
    assert figure.ok is False
    assert figure.measured == "not measured; mlserver: it was not ready"


def test_each_bar_compares_two_that_take_part_in_its_workload() -> None:
    assert [bar.title for bar in BARS if not {bar.peer, bar.against} <= set(WORKLOADS[bar.workload].peers)] == []
    assert [one.name for one in WORKLOADS.values() if one.ask not in WORKLOADS] == []


def test_half_of_a_rate_needs_the_rate() -> None:
    assert [workload.name for workload in chosen(["half", "grpc"])] == ["json", "grpc", "half"]


def test_the_forest_is_the_same_in_both_formats() -> None:
    trees = forest.grow(1)
    told = forest.as_attributes(trees)
    assert len(told["target_weights"]) == forest.TREES * 2**forest.DEPTH
    assert forest.as_pmml(trees).count("<Node score=") == forest.TREES * 2**forest.DEPTH
    (row,) = forest.rows(1)
    assert by_attributes(told, 7, row) == by_walking(trees[7], row)


def by_walking(node: forest.Node, row: list[float]) -> float:
    while node.below and node.above:
        node = node.below if row[node.feature] <= node.threshold else node.above
    return node.value


def by_attributes(told: dict[str, Any], tree: int, row: list[float]) -> float:
    """What ONNX's TreeEnsembleRegressor does with one tree."""
    places = {key: at for at, key in enumerate(zip(told["nodes_treeids"], told["nodes_nodeids"], strict=True))}
    number: float = 0
    while told["nodes_modes"][at := places[tree, number]] == "BRANCH_LEQ":
        is_below = row[int(told["nodes_featureids"][at])] <= told["nodes_values"][at]
        number = told["nodes_truenodeids" if is_below else "nodes_falsenodeids"][at]
    leaves = zip(told["target_treeids"], told["target_nodeids"], strict=True)
    value: float = told["target_weights"][list(leaves).index((tree, number))]
    return value
