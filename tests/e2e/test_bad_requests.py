"""Predictions, names, parameters, moves and connections that nobody should try, each answered by a 4xx problem, soon.

The fixture `wire` checks around each test that the platform stays quick, small and predicts as before.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.platform import RunningPlatform, until
from tests.e2e.wire import Wire, must_refuse, must_refuse_inference

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
API = "/api/v1"
SERVICES, PREDICT, INFER = f"{API}/services", f"{API}/services/iris/predict", "/v2/models/iris/infer"
VECTOR = [5.1, 3.5, 1.4, 0.2]
FIELD = "/inputs/float_input"
DEEP = b"[" * 10_000 + b"]" * 10_000


NO_VALUES: tuple[object, ...] = ("nobody", {}, [1], True, "x" * 100_000)


def inputs(value: object) -> object:
    return {"inputs": {"float_input": value}}


PREDICTIONS: dict[str, tuple[object, int, str | None]] = {
    "nothing": (b"", 400, None),
    "no JSON": (b'{"inputs": {', 400, None),
    "NaN": (b'{"inputs": {"float_input": [NaN, 1, 2, 3]}}', 400, None),
    "10,000 deep": (DEEP, 400, None),
    "5,000 digits": (b'{"inputs": {"float_input": [' + b"9" * 5000 + b", 1, 2, 3]}}", 400, None),
    "no UTF-8": (b'{"inputs": {"\xff": 1}}', 400, None),
    "a list": ([], 422, ""),
    "no input": ({}, 422, ""),
    "an unknown member": ({"input_": {}}, 422, "/input_"),
    "no record": ({"inputs": []}, 422, "/inputs"),
    "a text": ({"inputs": "x"}, 422, "/inputs"),
    "a missing field": ({"inputs": {}}, 422, FIELD),
    "an unknown field": ({"inputs": {"float_input": VECTOR, "a/b": 1}}, 422, "/inputs/a~1b"),
    "no number": (inputs(["a", 1, 2, 3]), 422, f"{FIELD}/0"),
    "null inside": (inputs([1, None, 2, 3]), 422, f"{FIELD}/1"),
    "null": (inputs(None), 422, FIELD),
    "too few": (inputs([1, 2]), 422, FIELD),
    "too many": (inputs([1] * 5), 422, FIELD),
    "too deep": (inputs([VECTOR]), 422, FIELD),
    "beyond FP32": (inputs([1e39, 1, 2, 3]), 422, f"{FIELD}/0"),
    "the second of two": ({"inputs": [{"float_input": VECTOR}, {"float_input": 1}]}, 422, "/inputs/1/float_input"),
    "mixed records": ({"inputs": [{"float_input": VECTOR}, 5]}, 422, "/inputs/1"),
    "two spellings": ({"inputs": {}, "tensors": {}}, 422, ""),
    "a table without rows": ({"columns": ["float_input"], "data": []}, 422, "/data"),
    "an unknown column": ({"columns": ["petals"], "data": [[1]]}, 422, "/columns/0"),
    "a short row": ({"columns": ["float_input"], "data": [[]]}, 422, "/data/0"),
    "a ragged tensor": ({"tensors": {"float_input": [VECTOR, [1]]}}, 422, None),
    "an unknown tensor": ({"tensors": {"x": []}}, 422, "/tensors/x"),
}


@pytest.mark.parametrize("name", PREDICTIONS)
def test_a_prediction_that_cannot_be_names_the_value(wire: Wire, name: str) -> None:
    body, status, pointer = PREDICTIONS[name]
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    must_refuse(wire.ask("POST", PREDICT, sent), status, pointer=pointer)


def test_a_category_that_does_not_exist_is_refused_and_so_is_each_missing_field(wire: Wire) -> None:
    example = json.loads((EXAMPLES / "diabetes-risk.pmml.input.json").read_text("utf-8"))["inputs"]
    record: dict[str, Any] = example[0] if isinstance(example, list) else example
    path = f"{SERVICES}/risk/predict"
    for name in record:
        lacking = {other: value for other, value in record.items() if other != name}
        must_refuse(wire.ask_json("POST", path, {"inputs": lacking}), 422, pointer=f"/inputs/{name}")
        for value in NO_VALUES:
            answer = wire.ask_json("POST", path, {"inputs": {**record, name: value}})
            must_refuse(answer, 422, pointer=f"/inputs/{name}")


def test_a_large_submission_to_nobody_leaves_nothing_in_the_store(wire: Wire, attacked: RunningPlatform) -> None:
    def kept() -> set[Path]:
        return {path for path in (attacked.data / "artifacts").rglob("*") if path.is_file()}

    before = kept()
    answer = wire.ask_json("POST", f"{SERVICES}/nobody/predictions", {"inputs": ["nothing left" * 20_000]})
    must_refuse(answer, 404)
    assert kept() == before


def test_a_query_that_is_not_served_is_not_ignored(wire: Wire) -> None:
    must_refuse(wire.ask_json("POST", f"{PREDICT}?on_eror=record", inputs(VECTOR)), 422, pointer="/on_eror")


def tensor(**changes: object) -> dict[str, object]:
    whole = {"name": "float_input", "shape": [1, 4], "datatype": "FP32", "data": VECTOR, **changes}
    return {"inputs": [{name: value for name, value in whole.items() if value != "nothing"}]}


def test_every_broken_tensor_request_is_told_in_the_protocols_words(wire: Wire) -> None:
    wrong: dict[str, list[Any]] = {
        "name": ["nothing", None, 5, "x"],
        "shape": ["nothing", None, 4, [4], [-1, 4], [2**70, 4], [1.5, 4], ["1", 4], [1] * 50_000],
        "datatype": ["nothing", None, "FP64", "fp32", "BYTES", "BF16"],
        "data": ["nothing", "x", [], [1, 2], [1] * 5, [None, 1, 2, 3], ["a", 1, 2, 3], [{}, 1, 2, 3], [[1, 2], [3, 4]]],
    }
    for name, values in wrong.items():
        for value in values:
            must_refuse_inference(wire.ask_json("POST", INFER, tensor(**{name: value})))
    for body in (b"", b"null", b"{", DEEP, b'{"inputs": []}', b'{"inputs": [NaN]}', b"\x00\x00"):
        must_refuse_inference(wire.ask("POST", INFER, body))
    must_refuse_inference(wire.ask_json("POST", INFER, {**tensor(), "outputs": [{"name": "nothing"}]}))
    must_refuse_inference(wire.ask("POST", "/v2/models/nobody/infer", b"{}"))
    must_refuse_inference(wire.ask("GET", INFER))


NAMES = ("..%2fiam", "%2e%2e", "%00", "%F0%9F%99%82", "IRIS", "x" * 10_000, "a%0d%0aX:y", "ir%2569s", "a_b", "-", "%ff")


def test_a_name_that_can_be_none_is_never_found_nor_made(wire: Wire) -> None:
    for name in NAMES:
        for path in ("models", "services", "operations", "predictions", "webhooks", "events", "tokens"):
            must_refuse(wire.ask("GET", f"{API}/{path}/{name}"), (404, 405, 422))
        must_refuse(wire.ask("POST", f"{API}/models/{name}/versions", b"x"), (404, 415, 422))
        must_refuse(wire.ask_json("PUT", f"{API}/models/iris/aliases/{name}", {"version": "1"}), (404, 422))
        must_refuse(wire.ask("DELETE", f"{SERVICES}/{name}"), (404, 405))
        must_refuse(wire.ask_json("POST", f"{SERVICES}/{name}/predict", inputs(VECTOR)), 404)


QUERIES = (
    "page_size=-1", "page_size=0", "page_size=501", "page_size=abc", "page_size=" + "9" * 5000, "page_token=abc",
    "page_token=W10", "page_token=" + "a" * 5000, "order_by=size", "count=maybe", "color=red", "created_at.gt=abc",
    "created_at.gt=99999-01-01T00:00:00Z", "created_at.zz=1", "%F0%9F%99%82=1", "a=%00",
)  # fmt: skip


def test_a_query_parameter_that_is_wrong_is_refused_by_its_name(wire: Wire) -> None:
    for path in ("models", "services", "operations", "predictions", "events"):
        for query in QUERIES:
            answer = wire.ask("GET", f"{API}/{path}?{query}")
            must_refuse(answer, 422)
            assert answer.pointers, answer.body


def test_strangers_without_a_token_and_tokens_that_are_none_are_refused(wire: Wire) -> None:
    strangers = [
        ({"Host": "portside.example"}, 403),
        ({"Host": "127.0.0.1.nip.io"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Authorization": "Bearer pst_nobody"}, 401),
        ({"Authorization": "Basic eDp5"}, 401),
        ({"Authorization": ""}, 401),
    ]
    for headers, status in strangers:
        must_refuse(wire.ask("GET", f"{API}/models", headers=headers), status)
        must_refuse(wire.ask_json("POST", f"{API}/models", {"name": "bad"}, headers), status)
        must_refuse(wire.ask_json("POST", PREDICT, inputs(VECTOR), headers), status)


def test_a_method_that_does_not_exist_is_told_which_do(wire: Wire) -> None:
    for path in ("models", "models/iris", "services/iris/history", "services/iris:pause", "operations", "me"):
        for method in ("TRACE", "PUT", "PROPFIND"):
            answer = wire.ask(method, f"{API}/{path}")
            must_refuse(answer, 405, "method_not_allowed")
            assert answer.headers["allow"]
    must_refuse(wire.ask("GET", PREDICT), 405)
    must_refuse(wire.ask("GET", f"{API}/nowhere"), 404, "unknown_path")
    assert wire.ask("HEAD", "/v2/models/iris").status == 200
    assert wire.ask("OPTIONS", f"{API}/models").headers["allow"]


def test_what_is_no_http_or_too_much_of_it_is_a_problem_too(wire: Wire) -> None:
    get, host = b"GET /healthz HTTP/1.1\r\n", b"Host: localhost\r\n"
    for data in (
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GARBAGE\r\n\r\n",
        get + b"Host : x\r\n\r\n",
        b"FOO / HTTP/1.1\r\n\r\n",
    ):
        must_refuse(wire.send(data), 400, "malformed_request")
    must_refuse(wire.send(get + host + b"X: " + b"y" * 5_000_000 + b"\r\n\r\n"), 431, "head_too_large")
    must_refuse(wire.send(b"GET /" + b"y" * 1_000_000 + b" HTTP/1.1\r\n" + host + b"\r\n"), 431)
    must_refuse(wire.send(get + host + b"X: y\r\n" * 50_000 + b"\r\n"), 431)


def test_requests_before_garbage_are_answered_and_an_offer_to_upgrade_is_passed_over(wire: Wire) -> None:
    with wire.open() as connection:
        connection.sendall(wire.request("GET", "/healthz") * 20 + b"GARBAGE\r\n\r\n")
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    assert (answers.count(b"HTTP/1.1 200"), answers.count(b"HTTP/1.1 400")) == (20, 1)
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQ"}
    assert wire.ask_json("POST", PREDICT, inputs(VECTOR), offer).status == 200


WEBHOOKS = (
    "", "x", "ftp://a/b", "file:///etc/passwd", "http://", "http://user:pass@example.com/", "http://10.0.0.1/",
    "http://169.254.169.254/latest", "http://[fe80::1]/", "http://[::ffff:10.0.0.1]/", "http://0.0.0.0/",
    "http://example.com:99999/", "http://exa mple.com/", "http://[::1", "http://example.com/" + "x" * 3000,
)  # fmt: skip


def test_a_webhook_may_not_reach_what_is_private(wire: Wire) -> None:
    for url in WEBHOOKS:
        must_refuse(wire.ask_json("POST", f"{API}/webhooks", {"url": url}), 422, pointer="/url")
        body = {"inputs": {}, "webhook": url}
        must_refuse(wire.ask_json("POST", f"{SERVICES}/iris/predictions", body), 422, pointer="/webhook")


def test_an_idempotency_key_is_for_one_request(wire: Wire) -> None:
    def create(name: str, key: str) -> int:
        return wire.ask_json("POST", f"{API}/models", {"name": name}, {"Idempotency-Key": key}).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: create("once", "same"), range(8))) == {201}
    answer = wire.ask_json("POST", f"{API}/models", {"name": "twice"}, {"Idempotency-Key": "same"})
    must_refuse(answer, 422, "idempotency_key_reused")
    for key in ("", '""', "x" * 300, "x" * 60_000):
        answer = wire.ask_json("POST", f"{API}/models", {"name": "twice"}, {"Idempotency-Key": key})
        must_refuse(answer, 422, pointer="/Idempotency-Key")
    assert wire.ask("GET", f"{API}/models/twice").status == 404


def test_illegal_moves_are_told_with_the_status(wire: Wire) -> None:
    def status_of(name: str) -> str | None:
        answer = wire.ask("GET", f"{SERVICES}/{name}")
        return str(answer.document["status"]) if answer.status == 200 else None

    body = {"name": "moved", "model": "iris"}
    assert wire.ask_json("POST", SERVICES, body, {"Prefer": "wait=60"}).status == 201
    must_refuse(wire.ask_json("POST", SERVICES, body), 409, "name_taken")
    must_refuse(wire.ask("POST", f"{SERVICES}/moved:resume"), 409, "illegal_move")
    must_refuse(wire.ask("DELETE", f"{API}/models/iris/versions/1"), 409, "in_use")
    assert wire.ask("POST", f"{SERVICES}/moved:pause", headers={"Prefer": "wait=60"}).status == 200
    must_refuse(wire.ask("POST", f"{SERVICES}/moved:pause"), 409, "illegal_move")
    must_refuse(wire.ask_json("POST", f"{SERVICES}/moved/predict", inputs(VECTOR)), 409, "service_paused")
    assert wire.ask("POST", f"{SERVICES}/moved:resume").status == 202
    with ThreadPoolExecutor(6) as pool:
        changes = [pool.submit(wire.ask_json, "PATCH", f"{SERVICES}/moved", {"env": {"A": str(n)}}) for n in range(12)]
        assert {change.result().status for change in changes} == {202}
        ends = [pool.submit(wire.ask, "DELETE", f"{SERVICES}/moved") for _ in range(4)]
        assert sorted(end.result().status for end in ends)[0] == 202
    must_refuse(wire.ask_json("PATCH", f"{SERVICES}/moved", {"replicas": 2}), (404, 409))
    assert until(lambda: True if status_of("moved") is None else None, 60, "the end of the service")


def test_a_hundred_thousand_records_hold_up_nobody_for_long(wire: Wire) -> None:
    body = json.dumps({"inputs": [{"float_input": VECTOR}] * 100_000}).encode()
    began = time.monotonic()
    assert wire.ask("POST", PREDICT, body).status == 200
    must_refuse(wire.ask("POST", PREDICT, body.replace(b"1.4", b'"x"')), 422, pointer="/inputs/0/float_input/2")
    must_refuse(wire.send(wire.request("POST", PREDICT, headers={"Content-Length": str(65 << 20)})), 413)
    assert time.monotonic() - began < 10
