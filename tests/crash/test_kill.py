"""kill -9 of the whole platform while it works: what was accepted is finished, once, and nothing else is left."""

import json
import time
from collections.abc import Callable

import pytest
from standardwebhooks import Webhook

from cli.comparison import difference
from tests.crash.artifacts import Artifact, onnx_artifact, pmml_artifact
from tests.crash.checks import is_sound
from tests.crash.ledger import Begin, Try
from tests.crash.receiver import Received, Receiver
from tests.crash.site import SETTLED_S, Site, records
from tests.crash.submissions import Batch, Upload
from tests.e2e.platform import until

BULK_BYTES = 8 * 1024 * 1024
PREDICTIONS = 8
EACH_PMML = 5  # of so many tries one is with a JVM
MOMENT_S = 30.0
FINAL = ("succeeded", "failed", "canceled")


def crash(site: Site, attempt: Try, moment: Callable[[], object]) -> None:
    """Wait for the moment, kill, start again at once."""
    moment()
    site.kill()
    attempt.first_answer_s = site.restart()


def when(look: Callable[[], object]) -> Callable[[], None]:
    """The moment at which `look` finds something; looks without a pause, because moments are short."""

    def wait() -> None:
        deadline = time.monotonic() + MOMENT_S
        while not look():
            assert time.monotonic() < deadline, "the moment to kill at did not come"

    return wait


def after(seconds: float) -> Callable[[], None]:
    return lambda: time.sleep(seconds)


def artifact_of(attempt: Try) -> Artifact:
    is_pmml = attempt.number % EACH_PMML == EACH_PMML - 1
    return pmml_artifact(attempt.salt) if is_pmml else onnx_artifact(attempt.salt)


def is_past(site: Site, operation: str, *statuses: str) -> bool:
    return site.api.get(f"/api/v1/operations/{operation}")["status"] in (*statuses, *FINAL)


def test_an_upload_is_whole_or_absent_and_a_retry_under_its_key_makes_no_second_one(
    site: Site, receiver: Receiver, webhook_id: str, begin: Begin
) -> None:
    with begin("upload") as attempt:
        artifact = onnx_artifact(attempt.salt, BULK_BYTES)
        upload, blob = Upload(artifact), artifact.blob(site.data)
        sending = upload.send(site, attempt.name, attempt.name)
        moment = attempt.choose(
            {
                "half of it sent": upload.half_sent.is_set,
                "half of it on the disk": lambda: any((site.data / "artifacts" / "partial").glob("*")),
                "between blob and row": blob.exists,
                "after the 202": sending.is_done,
                "by chance": after(attempt.chance.uniform(0, 0.15)),
            }
        )
        if not attempt.moment.startswith("half"):
            upload.go_on.set()
        crash(site, attempt, moment if attempt.moment == "by chance" else when(moment))
        upload.go_on.set()
        accepted = sending.outcome()
        operation = site.upload(attempt.name, artifact, attempt.name)
        assert accepted is None or accepted == operation
        site.succeeded(operation)
        [version] = site.api.items(f"/api/v1/models/{attempt.name}/versions")
        assert (version["status"], version["digest"]) == ("ready", f"sha256:{artifact.hex}")
        is_sound(site, receiver, webhook_id)


def test_an_accepted_upload_is_inspected(site: Site, receiver: Receiver, webhook_id: str, begin: Begin) -> None:
    with begin("inspect") as attempt:
        operation = site.upload(attempt.name, artifact_of(attempt), attempt.name)

        def child_runs() -> bool:
            return bool(site.children("inspect")) or is_past(site, operation)

        def child_ended() -> bool:
            when(child_runs)()
            return not site.children("inspect")

        moment = attempt.choose(
            {
                "after the 202": lambda: None,
                "when it is running": when(lambda: is_past(site, operation, "running")),
                "when the child runs": when(child_runs),
                "when the child has ended": when(child_ended),
                "by chance": after(attempt.chance.uniform(0, 0.8)),
            }
        )
        crash(site, attempt, moment)
        site.succeeded(operation)
        version = site.api.get(f"/api/v1/models/{attempt.name}/versions/1")
        assert (version["status"], version["task"]) == ("ready", "classification")
        is_sound(site, receiver, webhook_id)


def test_an_accepted_deployment_serves(site: Site, receiver: Receiver, webhook_id: str, begin: Begin) -> None:
    with begin("deploy") as attempt:
        artifact = artifact_of(attempt)
        file = "iris.pmml" if artifact.content.startswith(b"<") else "iris.onnx"
        site.succeeded(site.upload(attempt.name, artifact, attempt.name))
        operation = site.deploy(attempt.name, attempt.name, replicas=attempt.chance.choice((1, 2)))

        def replica_is(*statuses: str) -> bool:
            return bool(site.replicas(attempt.name, *statuses)) or is_past(site, operation)

        moment = attempt.choose(
            {
                "after the 202": lambda: None,
                "when it is running": when(lambda: is_past(site, operation, "running")),
                "when a replica is starting": when(lambda: replica_is("starting", "ready")),
                "when its process runs": when(lambda: len(site.children("--replica")) > 1),
                "when a replica is ready": when(lambda: replica_is("ready")),
                "by chance": after(attempt.chance.uniform(0, 1.2)),
            }
        )
        crash(site, attempt, moment)
        site.succeeded(operation)
        assert site.service(attempt.name)["status"] in ("running", "degraded")
        until(lambda: site.answer_of(attempt.name, file), SETTLED_S, "an answer of the new service")
        is_sound(site, receiver, webhook_id)
        site.delete_service(attempt.name)


def test_accepted_predictions_succeed_and_tell_so_once(
    site: Site, receiver: Receiver, webhook_id: str, begin: Begin
) -> None:
    with begin("predict") as attempt:
        asked, told = records("iris.onnx")
        ids = [f"prd_{attempt.name}-{index}" for index in range(PREDICTIONS)]
        batch = Batch(ids, asked, f"{receiver.url}/predictions/{attempt.name}")
        sending = batch.send(site.api)

        def first_is(*statuses: str) -> bool:
            return bool(batch.accepted) and site.api.get(f"/api/v1/predictions/{ids[0]}")["status"] in statuses

        moment = attempt.choose(
            {
                "after the first 202": when(lambda: batch.accepted),
                "when the first is taken": when(lambda: first_is("processing", *FINAL)),
                "when the first is final": when(lambda: first_is(*FINAL)),
                "after the last 202": when(sending.is_done),
                "by chance": after(attempt.chance.uniform(0, 0.3)),
            }
        )
        crash(site, attempt, moment)
        sending.outcome()
        for index in range(PREDICTIONS):
            batch.put(site.api, index)
        is_sound(site, receiver, webhook_id)
        for index, each in enumerate(ids):
            found = site.api.get(f"/api/v1/predictions/{each}")
            assert found["status"] == "succeeded", found
            assert difference(found["output"], told[index % len(told)]) is None
        until(lambda: _all_told(ids, receiver), SETTLED_S, "a webhook for each prediction")
        secret = Webhook(str(site.api.get("/api/v1/webhooks/default/secret")["key"]))
        for arrived in _about_predictions(receiver, ids):
            secret.verify(arrived.body, dict(arrived.headers))


@pytest.mark.campaign
def test_a_delivery_that_a_kill_interrupts_arrives_again_with_the_same_id(
    site: Site, receiver: Receiver, webhook_id: str, begin: Begin
) -> None:
    with begin("webhook") as attempt:
        asked, _ = records("iris.onnx")
        batch = Batch([f"prd_{attempt.name}"], asked, f"{receiver.url}/predictions/{attempt.name}")
        receiver.gate.clear()
        batch.put(site.api, 0)
        arrived = until(lambda: _about_predictions(receiver, batch.ids) or None, SETTLED_S, "the first attempt")
        attempt.moment = "while it is received"
        try:
            crash(site, attempt, after(attempt.chance.uniform(0, 0.1)))
        finally:
            receiver.gate.set()
        until(lambda: receiver.count(arrived[0].event_id) > 1 or None, SETTLED_S, "another attempt")
        is_sound(site, receiver, webhook_id)
        assert {each.event_id for each in _about_predictions(receiver, batch.ids)} == {arrived[0].event_id}


def _about_predictions(receiver: Receiver, ids: list[str]) -> list[Received]:
    """What came to predictions' own webhooks about these ones."""
    return [each for each in receiver.received if json.loads(each.body).get("id") in ids]


def _all_told(ids: list[str], receiver: Receiver) -> bool | None:
    """Each prediction's success was told, under one id however often."""
    told: dict[str, set[str]] = {}
    for each in _about_predictions(receiver, ids):
        document = json.loads(each.body)
        assert document["status"] == "succeeded"
        told.setdefault(document["id"], set()).add(each.event_id)
    assert all(len(events) == 1 for events in told.values())
    return True if len(told) == len(ids) else None
