"""A real platform tells what a service did: every prediction once, whoever asks and also after a restart."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from api.schemas.service_metrics import ServiceMetricsShown, WindowShown
from tests.e2e.commands import data, verb
from tests.e2e.platform import RunningPlatform, until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
GOOD = (EXAMPLES / "iris.onnx.input.json").read_bytes()
METRICS = "/api/v1/services/iris/metrics"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform with the service `iris` that samples several times a second."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PORTSIDE_SAMPLE_S", "0.2")
        with RunningPlatform.start(tmp_path_factory.mktemp("measured")) as platform:
            data(platform, "models", "upload", str(EXAMPLES / "iris.onnx"), "--name", "iris")
            with platform.client() as client:  # the verb `deploy` tries a prediction, too
                wait = {"Prefer": "wait=60"}
                body = {"name": "iris", "model": "iris"}
                assert client.call("POST", "/api/v1/services", body, headers=wait).status == 201
            yield platform


def predict(running: RunningPlatform, times: int, body: bytes, status: int) -> None:
    with httpx2.Client(base_url=running.url, trust_env=False, timeout=90) as client:
        for _ in range(times):
            assert client.post("/api/v1/services/iris/predict", content=body).status_code == status


def shown(running: RunningPlatform) -> ServiceMetricsShown:
    with running.client() as client:
        return ServiceMetricsShown.model_validate(client.get(METRICS))


def hour_with(running: RunningPlatform, count: int) -> WindowShown:
    """The last hour once so many predictions are told, or more; of the last minute some may be over by then."""

    def look() -> WindowShown | None:
        hour = shown(running).windows[2]
        return hour if hour.count >= count and hour.cpu is not None else None

    return until(look, 60, f"the samples of {count} predictions")


def test_every_prediction_is_told_once_with_its_latency_and_what_the_replica_uses(running: RunningPlatform) -> None:
    predict(running, 40, GOOD, 200)
    predict(running, 3, b'{"inputs": {"nothing": 1}}', 422)
    hour = hour_with(running, 43)
    assert (hour.count, hour.errors, hour.refused) == (43, 0, 3)
    latency = hour.latency_ms
    assert 0 < (latency.p50 or 0) <= (latency.p95 or 0) <= (latency.p99 or 0) < 60_000
    assert 0 < (hour.cpu or 0) < 16
    assert 10_000_000 < (hour.memory_bytes or 0) < 2_000_000_000
    (replica,) = shown(running).replicas
    assert (replica.status, replica.windows[2].count) == ("ready", 43)


def test_the_figures_are_shown_to_people_and_to_scripts(running: RunningPlatform) -> None:
    said = data(running, "services", "metrics", "iris")
    for word in ("1m", "5m", "1h", "p99", "refused", "ready", " ms", "MB"):
        assert word in said, said
    assert re.search(
        r"last 1m: \d+ predictions, [\d.]+ per second, 0 errors, p50 .* ms", data(running, "status", "iris")
    )
    printed = json.loads(data(running, "services", "metrics", "iris", "--window", "5m", "--json"))
    assert [window["window_s"] for window in printed["windows"]] == [300]
    refused = verb(running, "services", "metrics", "iris", "--window", "5")
    assert refused.exit_status != 0
    assert "such as 30s" in refused.err
    assert verb(running, "services", "metrics", "nobody").exit_status == 3


def test_a_paused_service_tells_what_it_did_and_whom_it_refused(running: RunningPlatform) -> None:
    before = hour_with(running, 0)
    data(running, "pause", "iris")
    predict(running, 2, GOOD, 409)
    hour = hour_with(running, before.count + 2)
    assert (hour.count, hour.refused) == (before.count + 2, before.refused + 2)
    data(running, "resume", "iris")


def test_what_was_counted_last_is_written_at_the_end_and_told_after_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTSIDE_SAMPLE_S", "600")  # never while it runs
    with RunningPlatform.start(tmp_path) as first:
        data(first, "deploy", str(EXAMPLES / "iris.onnx"))
        predict(first, 5, GOOD, 200)
        assert shown(first).windows[2].count == 0
    with RunningPlatform.start(tmp_path) as second:
        assert shown(second).windows[2].count >= 5
