"""What an operator has: the log and the figures. A request is followed through them as the how-to says."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from cli.receiver import listening
from tests.e2e.platform import until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RECORD = json.loads((EXAMPLES / "iris.onnx.input.json").read_text("utf-8"))["inputs"][0]
Line = Mapping[str, str]


def lines_of(files: Iterable[Path]) -> list[Line]:
    """Every whole line of the logs that is ours: a process also says a sentence when it begins and when it ends."""
    texts = [line for file in files for line in file.read_text("utf-8").rpartition("\n")[0].splitlines()]
    return [json.loads(text) for text in texts if text.startswith("{")]


def scraped(url: str, token: str | None = None) -> Mapping[str, frozenset[str]]:
    """The families that a process shows, by the names of the reference, with the labels that their samples have."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = httpx2.get(url, headers=headers, timeout=90, trust_env=False)
    answer.raise_for_status()
    found = {}
    for family in text_string_to_metric_families(answer.text):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[f"{family.name}_total" if family.type == "counter" else family.name] = frozenset(labels)
    return found


class Caller:
    """A client that names its requests."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def call(self, verb: str, path: str, body: object, request_id: str, status: int) -> Any:
        """Send JSON, hold it to the answer, and give its document."""
        headers = {**self._headers, "X-Request-Id": request_id, "Prefer": "wait=60"}
        url = f"{self._url}{path}"
        answer = httpx2.request(verb, url, json=body, headers=headers, timeout=90, trust_env=False)
        assert answer.status_code == status, answer.text
        assert answer.headers["x-request-id"] == request_id
        return answer.json() if answer.content else None

    def deploy_and_predict(self, service: str) -> None:
        """A deployment that a webhook tells of, as the request `deploy-…`; a prediction with its own, `predict-…`."""
        with listening() as receiver:
            hook = {"url": receiver.url, "events": ["service.running"]}
            made = self.call("POST", "/api/v1/webhooks", hook, f"hook-{service}", 201)
            self.call("POST", "/api/v1/services", {"name": service, "model": "iris"}, f"deploy-{service}", 201)
            body = {"inputs": RECORD, "webhook": receiver.url, "webhook_events_filter": ["start", "completed"]}
            self.call("POST", f"/api/v1/services/{service}/predictions", body, f"predict-{service}", 201)
            for _ in range(3):
                receiver.next(60)
            self.call("DELETE", f"/api/v1/webhooks/{made['id']}", None, f"unhook-{service}", 204)


def followed(files: Sequence[Path], request_id: str, work: str, kind: str, deliveries: int) -> bool | None:
    """Whether the log alone leads from a request to its work (named by the id `work`), its handler and its webhooks."""
    lines = [line for line in lines_of(files) if line.get("request_id") == request_id]
    accepted = [line for line in lines if line["logger"] == "api.edge" and work in line]
    if not accepted:
        return None
    ids = {accepted[0][work]}
    done = [line for line in lines if line.get(work) in ids and line["message"].startswith(f"{kind}: done")]
    sent = {line["delivery_id"] for line in lines if line["message"].startswith("deliver: done")}
    about_one = {(line["resource_name"], line["tenant_id"]) for line in (*accepted, *done)}
    return (len(done), len(sent), len(about_one)) == (1, deliveries, 1) or None


def assert_followed(files: Sequence[Path], service: str) -> None:
    """Both requests of `deploy_and_predict` are found in the log, from the request to the webhook."""
    for request_id, work, kind, deliveries in (
        (f"deploy-{service}", "operation_id", "service.deploy", 1),
        (f"predict-{service}", "prediction_id", "predict", 2),
    ):
        story = (files, request_id, work, kind, deliveries)
        until(partial(followed, *story), 60, f"the story of {request_id}")
