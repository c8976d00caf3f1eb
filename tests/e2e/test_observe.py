"""What happens is told: one request leads through the log, and every figure of the reference is there."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from cli.catalogue import figures
from tests.e2e.observing import EXAMPLES, Caller, assert_followed, scraped
from tests.e2e.platform import RunningPlatform


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform whose log is JSON, and which has deployed, predicted and told of it."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PORTSIDE_LOG_FORMAT", "json")
        environment.setenv("PORTSIDE_METRICS_PORT", "0")
        platform = RunningPlatform.start(tmp_path_factory.mktemp("observed"))
    try:
        upload(platform)
        Caller(platform.url).deploy_and_predict("observed")
        predict(platform, "observed", 200)
        predict(platform, "no-such-service", 404)
        yield platform
    finally:
        platform.end()


def upload(platform: RunningPlatform) -> None:
    content = (EXAMPLES / "iris.onnx").read_bytes()
    headers = {"Content-Type": "application/octet-stream", "Prefer": "wait=60"}
    url = f"{platform.url}/api/v1/models/iris/versions"
    assert httpx2.post(url, content=content, headers=headers, timeout=90, trust_env=False).status_code == 201


def predict(platform: RunningPlatform, service: str, status: int) -> None:
    body = (EXAMPLES / "iris.onnx.input.json").read_bytes()
    url = f"{platform.url}/api/v1/services/{service}/predict"
    assert httpx2.post(url, content=body, timeout=90, trust_env=False).status_code == status


def test_an_error_says_its_request_whoever_answers_it(busy: RunningPlatform) -> None:
    """The gateway for itself, and the model server for what does not fit the model."""
    for path, body in (("no-such-service/predict", "{}"), ("observed/predict", '{"inputs": {"nothing": 1}}')):
        url = f"{busy.url}/api/v1/services/{path}"
        headers = {"X-Request-Id": "mine-1", "Content-Type": "application/json"}
        answer = httpx2.post(url, content=body, headers=headers, timeout=90, trust_env=False)
        assert answer.status_code in (404, 422)
        assert answer.json()["request_id"] == answer.headers["x-request-id"] == "mine-1"


def log_of(platform: RunningPlatform) -> Path:
    return platform.data / "logs" / "portside.log"


def test_one_request_leads_through_the_log_to_its_work_its_handler_and_its_webhooks(busy: RunningPlatform) -> None:
    assert_followed([log_of(busy)], "observed")


def test_every_line_is_an_object_with_a_time_a_level_and_who_speaks(busy: RunningPlatform) -> None:
    text = log_of(busy).read_text("utf-8").rpartition("\n")[0]  # read once: it goes on
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert all(line["time"].endswith("Z") for line in lines)


def test_every_figure_of_the_reference_is_shown_with_its_labels_and_no_other(busy: RunningPlatform) -> None:
    shown = {name: labels for name, labels in scraped(f"{busy.url}/metrics").items() if name.startswith("portside_")}
    known = {figure.name: frozenset(figure.labels) for figure in figures()}
    assert shown.keys() == known.keys()
    assert {name for name, labels in shown.items() if labels and labels != known[name]} == set()


def test_the_figures_tell_what_was_done(busy: RunningPlatform) -> None:
    text = httpx2.get(f"{busy.url}/metrics", timeout=90, trust_env=False).text
    for line in (
        'portside_gateway_requests_total{service="observed",status="200"} 1.0',
        'portside_work_outcomes_total{kind="service.deploy",lane="control",outcome="done"} 1.0',
        'portside_replicas{status="ready"} 1.0',
        'portside_store_operations_total{backend="file",operation="put",result="ok"} 1.0',
        'portside_caretaker_leader{caretaker="rescuer"} 1.0',
        "portside_database_up 1.0",
    ):
        assert f"\n{line}\n" in text
    assert '\nportside_gateway_requests_total{service="",status="404"} ' in text
    assert "no-such-service" not in text
    assert "_created" not in text
