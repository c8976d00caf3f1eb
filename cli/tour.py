"""The main job with one model, as an outside HTTP client does it: every answer is checked, every step is a line."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from standardwebhooks import Webhook, WebhookVerificationError

from cli.client import Document, Platform
from cli.comparison import difference
from cli.failure import CommandFailed
from cli.operations import operation_of, wait_for
from cli.output import Output
from cli.prediction import predict_path
from cli.receiver import Receiver
from cli.upload import size_in_words, upload
from cli.words import answer_in_words, field_names, overview_in_words, seconds_in_words
from portside.messages import Answer

PATIENCE_S = 120.0
WEBHOOK_S = 30.0
POLL_S = 0.02
FINAL = ("succeeded", "failed", "canceled")


class Journal:
    """Prints what happened and how long it took."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.first_prediction_s = 0.0

    @property
    def elapsed(self) -> str:
        """Since the demo began."""
        return seconds_in_words(time.perf_counter() - self.began)

    def line(self, step: str, what: str, since: float) -> None:
        """One step that began at `since`."""
        print(f"{step:<10}{what:<100} {seconds_in_words(time.perf_counter() - since):>9}", flush=True)

    def predicted(self) -> None:
        """Remember when the first answer came."""
        self.first_prediction_s = self.first_prediction_s or time.perf_counter() - self.began


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A model file, the records to send and the answers to expect."""

    file: Path
    service: str
    records: list[object]
    expected: list[object]

    @classmethod
    def read(cls, file: Path, service: str) -> "Exhibit":
        """The model file with what lies beside it."""
        inputs = json.loads(file.with_name(f"{file.name}.input.json").read_text("utf-8"))["inputs"]
        outputs = json.loads(file.with_name(f"{file.name}.expected.json").read_text("utf-8"))["outputs"]
        return cls(file, service, inputs, outputs)


class Tour:
    """Takes one exhibit from its file to a verified webhook. Every step raises `CommandFailed`."""

    def __init__(self, platform: Platform, exhibit: Exhibit, receiver: Receiver, journal: Journal) -> None:
        self._platform, self._exhibit, self._receiver, self._journal = platform, exhibit, receiver, journal
        self._model = f"/api/v1/models/{quote(exhibit.service)}"
        self._service = f"/api/v1/services/{quote(exhibit.service)}"
        self._predictions = f"{self._service}/predictions"

    def run(self) -> None:
        """All steps in turn."""
        print(f"\n{self._exhibit.file.name}")
        version = self._overview(self._upload())
        deployed_at = time.perf_counter()
        self._deploy(version)
        self._predict_one(deployed_at)
        self._predict_many()
        self._predict_and_wait()
        self._predict_and_poll()
        self._predict_and_be_told()

    def _upload(self) -> str:
        began, file = time.perf_counter(), self._exhibit.file
        operation = operation_of(self._platform, upload(self._platform, file, self._exhibit.service))
        number = str(operation["target"]["name"])
        size = size_in_words(file.stat().st_size)
        self._journal.line("upload", f"{size} → version {number} of model {self._exhibit.service}", began)
        began = time.perf_counter()
        wait_for(self._platform, operation, PATIENCE_S, Output(quiet=True))
        self._journal.line("inspect", f"operation {operation['id']} succeeded", began)
        return number

    def _overview(self, number: str) -> Document:
        began = time.perf_counter()
        version = self._platform.get(f"{self._model}/versions/{number}")
        self._journal.line("overview", overview_in_words(version), began)
        print(f"{'':<10}takes {field_names(version['inputs'])}; tells {field_names(version['outputs'])}")
        return version

    def _deploy(self, version: Document) -> None:
        began = time.perf_counter()
        wish = {"model": self._exhibit.service, "version": version["version"]}
        before = self._platform.find(self._service)
        if before is None:
            answer = self._platform.call("POST", "/api/v1/services", {"name": self._exhibit.service, **wish})
            how = "deployed"
        else:
            answer = self._platform.call("PATCH", self._service, wish)
            how = f"rolled over from version {before['version']} to version {version['version']}"
        if before is not None and before["status"] == "paused":
            answer = self._platform.call("POST", f"{self._service}:resume")
        wait_for(self._platform, operation_of(self._platform, answer), PATIENCE_S, Output(quiet=True))
        service = self._platform.get(self._service)
        ready = f"{service['ready_replicas']} of {service['replicas']} replicas ready"
        self._journal.line("deploy", f"service {self._exhibit.service} {how}: {service['status']}, {ready}", began)

    def _predict_one(self, deployed_at: float) -> None:
        began = time.perf_counter()
        answer = self._post(predict_path(self._exhibit.service), {"inputs": self._exhibit.records[0]})
        self._check(answer.document["outputs"], self._exhibit.expected[0])
        self._journal.predicted()
        since_deploy = seconds_in_words(time.perf_counter() - deployed_at)
        words = answer_in_words(answer.document["outputs"])
        self._journal.line("predict", f"one record → {words}  ({since_deploy} after the deploy was sent)", began)

    def _predict_many(self) -> None:
        began = time.perf_counter()
        answer = self._post(predict_path(self._exhibit.service), {"inputs": self._exhibit.records})
        self._check(answer.document["outputs"], self._exhibit.expected)
        words = ", ".join(map(answer_in_words, answer.document["outputs"]))
        self._journal.line("predict", f"{len(self._exhibit.records)} records → {words}", began)

    def _predict_and_wait(self) -> None:
        began = time.perf_counter()
        answer = self._post(self._predictions, self._body(1), headers={"prefer": "wait=20"})
        if answer.status != 201:
            raise CommandFailed(f"Prefer: wait=20 was answered {answer.status} instead of 201.")
        self._finished(answer.document, 1)
        self._journal.line("async", "Prefer: wait → 201 with the result", began)

    def _predict_and_poll(self) -> None:
        began = time.perf_counter()
        answer = self._post(self._predictions, self._body(2))
        if answer.status != 202:
            raise CommandFailed(f"A prediction that nobody waits for was answered {answer.status} instead of 202.")
        prediction, polls = answer.document, 0
        while prediction["status"] not in FINAL:
            if time.perf_counter() - began > PATIENCE_S:
                raise CommandFailed(f"{prediction['id']} is {prediction['status']} after {PATIENCE_S:g} s.")
            time.sleep(POLL_S)
            prediction, polls = self._platform.get(f"/api/v1/predictions/{prediction['id']}"), polls + 1
        self._finished(prediction, 2)
        self._journal.line("async", f"202, then polled {polls} time(s) → {prediction['status']}", began)

    def _predict_and_be_told(self) -> None:
        began = time.perf_counter()
        wish = {"webhook": self._receiver.url, "webhook_events_filter": ["completed"]}
        submitted = self._post(self._predictions, {**self._body(0), **wish}).document
        received = self._receiver.next(WEBHOOK_S)
        secret = str(self._platform.get("/api/v1/webhooks/default/secret")["key"])
        try:
            Webhook(secret).verify(received.body, dict(received.headers))
        except WebhookVerificationError as error:
            raise CommandFailed(f"The webhook's signature is wrong: {error}.") from error
        told = json.loads(received.body)
        if told["id"] != submitted["id"]:
            raise CommandFailed(f"The webhook tells of {told['id']} instead of {submitted['id']}.")
        self._finished(told, 0)
        event = received.headers["webhook-id"]
        self._journal.line("webhook", f"202, then a signed POST of the result; signature of {event} verified", began)

    def _body(self, index: int) -> dict[str, object]:
        return {"inputs": self._exhibit.records[index]}

    def _post(self, path: str, body: object, headers: dict[str, str] | None = None) -> Answer:
        return self._platform.call("POST", path, body, headers=headers)

    def _finished(self, prediction: Document, index: int) -> None:
        if prediction["status"] != "succeeded":
            raise CommandFailed(f"{prediction['id']} is {prediction['status']}: {prediction.get('error')}.")
        self._check(prediction["output"], self._exhibit.expected[index])

    def _check(self, found: object, expected: object) -> None:
        if wrong := difference(found, expected):
            raise CommandFailed(f"{self._exhibit.file.name} was answered wrongly: {wrong}.")
