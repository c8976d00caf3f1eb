"""The statistics of one model: what is counted, how it is told, and that nothing is lost between threads."""

import threading
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from serving.exposition import Exposition
from serving.statistics import STAGES, Histogram, Statistics, now


def entry_of(statistics: Statistics) -> Any:
    return statistics.entry("iris", "1")


def told(statistics: Statistics) -> str:
    exposition = Exposition()
    statistics.expose(exposition, {"service": "iris"})
    return exposition.text()


def test_a_request_is_counted_in_each_stage_with_its_time() -> None:
    statistics = Statistics()
    begun = now()
    statistics.ran_alone(3, 5_000)
    statistics.answered(begun - 4_000, begun - 3_000, begun - 1_000, begun)
    entry = entry_of(statistics)
    assert (entry["inference_count"], entry["execution_count"]) == (3, 1)
    spent = entry["inference_stats"]
    assert spent["compute_input"] == {"count": 1, "ns": 3_000}
    assert spent["compute_infer"] == {"count": 1, "ns": 5_000}
    assert spent["success"]["count"] == 1
    assert spent["success"]["ns"] >= 4_000


def test_a_request_whose_steps_nobody_knows_is_counted_as_a_whole() -> None:
    statistics = Statistics()
    statistics.answered_whole(now() - 4_000)
    entry = entry_of(statistics)
    assert entry["inference_stats"]["success"]["count"] == 1
    assert entry["inference_stats"]["success"]["ns"] >= 4_000
    assert entry["inference_stats"]["compute_input"]["count"] == 0
    assert entry["last_inference"] > 1_700_000_000_000
    statistics.forget()
    assert entry_of(statistics)["last_inference"] == 0


def test_a_batch_is_one_execution_of_many_records() -> None:
    statistics = Statistics()
    for records in (2, 3):
        statistics.ran(records, 0, 1_000, 9_000)
    statistics.executed(5, 100, 8_000, 50)
    entry = entry_of(statistics)
    assert (entry["inference_count"], entry["execution_count"]) == (5, 1)
    (batch,) = entry["batch_stats"]
    assert batch["batch_size"] == 5
    assert batch["compute_infer"] == {"count": 1, "ns": 8_000}


def test_rare_batch_sizes_are_told_by_their_power_of_two() -> None:
    statistics = Statistics()
    for size in range(1, 5_000):
        statistics.ran_alone(size, 1)
    batches = entry_of(statistics)["batch_stats"]
    assert [batch["batch_size"] for batch in batches] == [*range(1, 129), 256, 512, 1024, 2048, 4096, 8192]


def test_no_request_is_lost_between_threads() -> None:
    statistics = Statistics()

    def many() -> None:
        for _ in range(5_000):
            begun = now()
            statistics.ran_alone(1, 100)
            statistics.answered(begun, begun, begun, begun)

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entry = entry_of(statistics)
    assert (entry["inference_count"], entry["execution_count"]) == (20_000, 20_000)
    assert 'portside_model_requests_total{service="iris",outcome="answered"} 20000\n' in told(statistics)


def test_buckets_hold_what_is_up_to_their_edge() -> None:
    histogram = Histogram(2, 4)
    histogram.add(np.array([0, 4, 5, 8, 9, 16, 17, 1_000], np.int64))
    assert histogram.edges == [4, 8, 16]
    assert histogram.counts.tolist() == [2, 2, 2, 2]


def test_prometheus_gets_a_histogram_of_each_stage() -> None:
    statistics = Statistics()
    begun = now()
    statistics.ran_alone(1, 3_000_000)
    statistics.answered(begun, begun, begun, begun)
    text = told(statistics)
    for stage in STAGES:
        assert f'portside_model_stage_seconds_count{{service="iris",stage="{stage}"}} 1\n' in text
    assert 'portside_model_stage_seconds_bucket{service="iris",stage="run",le="0.002097152"} 0\n' in text
    assert 'portside_model_stage_seconds_bucket{service="iris",stage="run",le="0.004194304"} 1\n' in text
    assert text.count("# TYPE portside_model_stage_seconds histogram\n") == 1


def test_prometheus_reads_all_of_it() -> None:
    statistics = Statistics()
    statistics.ran_alone(1, 3_000_000)
    statistics.failed(now())
    statistics.refused("overloaded")
    families = {family.name: family for family in text_string_to_metric_families(told(statistics))}
    assert families["portside_model_stage_seconds"].type == "histogram"
    assert {sample.labels["service"] for family in families.values() for sample in family.samples} == {"iris"}


def test_a_label_may_have_any_letters() -> None:
    exposition = Exposition()
    exposition.family("up", "gauge", "Whether it is up.").add(1, {"service": 'a"b\\c\nd'})
    assert exposition.text().endswith('up{service="a\\"b\\\\c\\nd"} 1\n')
