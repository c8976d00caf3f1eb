"""A version is tried out without a service: the answer equals a service's, and what is wrong names the field."""

import json

from tests.e2e.conftest import GOOD
from tests.e2e.platform import RunningPlatform
from tests.e2e.wire import Wire, must_refuse

IRIS = "/api/v1/models/iris/versions/latest:test"


def test_a_test_answers_what_a_service_would(wire: Wire) -> None:
    tried = wire.ask_json("POST", IRIS, GOOD)
    served = wire.ask_json("POST", "/api/v1/services/iris/predict", GOOD)
    assert (tried.status, served.status) == (200, 200)
    shown = json.loads(tried.body)
    assert shown["outputs"] == json.loads(served.body)["outputs"]
    assert set(shown) == {"outputs", "stdout", "stderr", "duration_ms"}
    assert shown["duration_ms"] > 0


def test_a_pmml_file_is_tried_out_with_a_table(attacked: RunningPlatform) -> None:
    wire = Wire(attacked.url)  # a Java that starts beside other tests
    sample = json.loads(wire.ask("GET", "/api/v1/models/risk/versions/1").body)["sample"]
    record = sample[0] if isinstance(sample, list) else sample
    body = {"columns": list(record), "data": [list(record.values())] * 2}
    tried = wire.ask_json("POST", "/api/v1/models/risk/versions/1:test", body)
    assert tried.status == 200, tried.body
    assert len(json.loads(tried.body)["outputs"]["data"]) == 2


def test_an_input_that_does_not_fit_is_refused_with_its_pointer(wire: Wire) -> None:
    refused = wire.ask_json(
        "POST", IRIS, {"inputs": {"float_input": [1, 2, "x", 4]}}
    )  # by a child, which takes its time
    assert (refused.status, refused.pointers) == (422, ["/inputs/float_input/2"]), refused.body
    must_refuse(wire.ask_json("POST", IRIS, {}), 422, pointer="/inputs")
    must_refuse(wire.ask_json("POST", IRIS, {**GOOD, "webhook": "https://example.com"}), 422, pointer="/webhook")
    assert wire.ask_json("POST", "/api/v1/models/iris/versions/9:test", GOOD).status == 404


def test_a_test_is_an_operation_for_who_does_not_wait(wire: Wire, attacked: RunningPlatform) -> None:
    accepted = wire.ask_json("POST", IRIS, GOOD, {"Prefer": "respond-async"})
    assert accepted.status == 202
    operation = json.loads(accepted.body)
    assert (operation["kind"], operation["target"]["type"]) == ("version.test", "version")
    ended = json.loads(wire.ask("GET", f"/api/v1/operations/{operation['id']}:wait?timeout=30").body)
    assert ended["status"] == "succeeded"
    assert set(ended["result"]) == {"outputs", "stdout", "stderr", "duration_ms"}


def test_the_same_key_tests_once(wire: Wire) -> None:
    key = {"Idempotency-Key": "try-iris-once"}
    first, again = wire.ask_json("POST", IRIS, GOOD, key), wire.ask_json("POST", IRIS, GOOD, key)
    assert json.loads(first.body) == json.loads(again.body)
    assert first.headers["operation-location"] == again.headers["operation-location"]
