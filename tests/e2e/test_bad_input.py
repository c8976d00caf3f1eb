"""Uploads and bodies that nobody should send to a running platform: each is answered by a 4xx problem, soon.

Nothing is left of them, and the platform stays quick and small meanwhile (see the fixture `wire`).
"""

import gzip
import json
import pickle
import re
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.platform import RunningPlatform, until
from tests.e2e.wire import Answer, Wire, form, must_refuse, partial_files

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ONNX = (EXAMPLES / "iris.onnx").read_bytes()
PMML = (EXAMPLES / "iris-logistic.pmml").read_bytes()
BARE = re.sub(rb"<\?xml.*?\?>\s*", b"", PMML)
MODELS, SERVICES = "/api/v1/models", "/api/v1/services"
VERSIONS, PREDICT = f"{MODELS}/bad/versions", f"{SERVICES}/iris/predict"
RAW = {"Content-Type": "application/octet-stream"}
FORM = {"Content-Type": "multipart/form-data; boundary=XX"}
JSON = {"Content-Type": "application/json"}
WAIT = {"Prefer": "wait=60"}
DEEP = b"[" * 10_000 + b"]" * 10_000


def nothing_is_left(wire: Wire, model: str = "bad") -> bool:
    return wire.ask("GET", f"{MODELS}/{model}").status == 404


NOT_MODELS = {
    "empty": b"",
    "one byte": b"x",
    "zeros": bytes(5000),
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "JPEG": b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(50),
    "zip": b"PK\x03\x04" + bytes(60),
    "PDF": b"%PDF-1.7\n",
    "CSV": b"a,b,c\n1,2,3\n",
    "HTML": b"<!DOCTYPE html><html><body>Log in</body></html>",
    "JSON": b'{"a": 1}',
    "text": b"hello\n",
    "gzip": gzip.compress(PMML),
    "other XML": b'<?xml version="1.0"?><svg/>',
    "random": bytes((7 * number * number + number // 3) % 251 for number in range(3000)),
    "DOCTYPE": b"<!DOCTYPE PMML>" + BARE,
    "entity bomb": b'<!DOCTYPE PMML [<!ENTITY a "aa"><!ENTITY b "&a;&a;&a;&a;">]>' + BARE,
    "external entity": b'<!DOCTYPE PMML [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + BARE,
    "DOCTYPE in UTF-16": ("<!DOCTYPE PMML>" + BARE.decode()).encode("utf-16"),
    **{f"ONNX cut to {size}": ONNX[:size] for size in (1, 2, 3, 10, 50, 500, 3000, len(ONNX) - 1)},
}


@pytest.mark.parametrize("name", NOT_MODELS)
def test_a_file_that_is_no_model_is_refused_however_it_is_sent(wire: Wire, name: str) -> None:
    content = NOT_MODELS[name]
    part = ('file"; filename="model.onnx', content)
    must_refuse(wire.ask("POST", VERSIONS, content, RAW), 422, pointer="/file")
    must_refuse(wire.ask("POST", VERSIONS, form(part), FORM), 422, pointer="/file")
    must_refuse(wire.ask("POST", MODELS, form(("name", b"bad"), part), FORM), 422, pointer="/file")
    assert nothing_is_left(wire)


@pytest.mark.parametrize(
    ("content", "way"),
    [
        (pickle.dumps({"a": 1}, protocol=0), "skl2onnx"),
        (pickle.dumps({"a": 1}, protocol=4), "skl2onnx"),
        (gzip.compress(pickle.dumps({"a": 1})), "skl2onnx"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), "onnx"),
        (b'{"version":[2,0,3],"learner":{"gradient_booster":{}}}', "onnxmltools"),
        (struct.pack("<Q", 40) + b'{"w":{"dtype":"F32","shape":[1],"data_of', "ONNX"),
    ],
    # Said here: pytest would make a name of the bytes, and gzip writes the time into them.
    ids=["pickle 0", "pickle 4", "compressed pickle", "HDF5", "XGBoost", "safetensors"],
)
def test_another_model_format_is_named_with_the_way_to_export_it(wire: Wire, content: bytes, way: str) -> None:
    answer = wire.ask("POST", VERSIONS, content, RAW)
    must_refuse(answer, 422, "format_not_served", "/file")
    assert way in answer.document["errors"][0]["hint"]
    assert nothing_is_left(wire)


BAD_MODELS = {
    "pmml_undeclared_field": PMML.replace(b'MiningField name="', b'MiningField name="x', 1),
    "pmml_malformed": PMML[: len(PMML) // 2],
    "pmml_no_model": PMML.replace(b"RegressionModel", b"MagicModel"),
    "pmml_version_unsupported": PMML.replace(b'version="4', b'version="9'),
    "pmml_invalid": re.sub(rb'coefficient="[^"]+"', b'coefficient="many"', PMML, count=1),
    "pmml_doctype": b"<!--" + b"long " * 15_000 + b"--><!DOCTYPE PMML>" + BARE,
    "pmml_too_deep": b'<PMML version="4.4">' + b"<Extension>" * 100_000,
    "onnx_invalid": ONNX.replace(b"TreeEnsembleClassifier", b"TreeEnsembleClass\xff\xff\xff\xff\xff"),
}


def test_a_model_that_cannot_be_served_says_why(wire: Wire) -> None:
    def upload(name: str) -> Answer:
        return wire.ask("POST", f"{MODELS}/odd-{name.replace('_', '-')}/versions", BAD_MODELS[name], {**RAW, **WAIT})

    with ThreadPoolExecutor(2) as pool:
        for name, answer in zip(BAD_MODELS, pool.map(upload, BAD_MODELS), strict=True):
            told = answer.document
            assert (answer.status, told["operation"]["status"]) == (422, "failed"), told
            assert answer.pointers == ["/file"]
            assert told["code"].split("_")[0] == name.split("_")[0], told
            if not name.startswith("onnx"):
                assert told["code"] == name, told
    refused = wire.ask_json("POST", SERVICES, {"name": "odd", "model": "odd-pmml-malformed", "version": "1"})
    must_refuse(refused, 409, "version_not_ready")


FORMS = {
    "no boundary": (form(("file", ONNX)), "multipart/form-data", 400, None),
    "another boundary": (form(("file", ONNX), boundary=b"YY"), FORM["Content-Type"], 400, None),
    "no file": (form(("task", b"regression")), FORM["Content-Type"], 422, "/file"),
    "two files": (form(("file", ONNX), ("file", ONNX)), FORM["Content-Type"], 422, "/file"),
    "a file as text": (form(("file", b"model.onnx")), FORM["Content-Type"], 422, "/file"),
    "an unknown field": (form(("file", ONNX), ("nmae", b"x")), FORM["Content-Type"], 422, "/nmae"),
    "a field twice": (form(("task", b"tensor"), ("task", b"tensor")), FORM["Content-Type"], 422, "/task"),
    "no end": (form(("file", ONNX), ends=False), FORM["Content-Type"], 400, "/file"),
    "10,000 parts": (form(*[(f"f{n}", b"") for n in range(10_000)]), FORM["Content-Type"], 422, "/f0"),
    "a huge header": (form(("file" + "x" * 500_000, ONNX)), FORM["Content-Type"], 400, None),
    "a huge field": (form(("description", b"x" * 2_000_000)), FORM["Content-Type"], 413, "/description"),
    "many wrong tags": (
        form(("tags", b"[" + b"1," * 200_000 + b"1]"), ("file", ONNX)),
        FORM["Content-Type"],
        422,
        "/tags",
    ),
    "a wrong task": (form(("task", b"magic"), ("file", ONNX)), FORM["Content-Type"], 422, "/task"),
    "another type": (form(("type", b"pmml"), ("file", ONNX)), FORM["Content-Type"], 422, "/type"),
    "metrics that nest": (form(("metrics", DEEP), ("file", ONNX)), FORM["Content-Type"], 422, "/metrics"),
    "a form of a page": (b"file=abc", "application/x-www-form-urlencoded", 415, None),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_broken_form_is_refused_with_its_field(wire: Wire, name: str) -> None:
    body, content_type, status, pointer = FORMS[name]
    must_refuse(wire.ask("POST", VERSIONS, body, {"Content-Type": content_type}), status, pointer=pointer)
    assert nothing_is_left(wire)


def head(wire: Wire, path: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", f"Host: {wire.host}", *headers, "", ""]).encode()


LENGTHS = {
    "more than announced": (("Content-Length: 100",), ONNX, 422),
    "more than a service may get": ((f"Content-Length: {3 << 30}",), ONNX, 413),
    "a negative length": (("Content-Length: -1",), ONNX, 400),
    "no number": (("Content-Length: many",), ONNX, 400),
    "two lengths": (("Content-Length: 5", "Content-Length: 6"), ONNX, 400),
    "a chunk without size": (("Transfer-Encoding: chunked",), b"ZZ\r\nabc\r\n0\r\n\r\n", 400),
    "a chunk beyond counting": (("Transfer-Encoding: chunked",), b"F" * 17 + b"\r\nabc\r\n0\r\n\r\n", 400),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_a_length_that_is_not_true_is_refused(wire: Wire, name: str) -> None:
    headers, body, status = LENGTHS[name]
    must_refuse(wire.send(head(wire, VERSIONS, "Content-Type: application/octet-stream", *headers) + body), status)
    assert nothing_is_left(wire)


SHORT = {
    "a file": (VERSIONS, RAW["Content-Type"], ONNX[:3000]),
    "a form": (VERSIONS, FORM["Content-Type"], form(("file", ONNX[:2000]), ends=False)),
    "JSON": (MODELS, JSON["Content-Type"], b'{"name": "ba'),
    "a prediction": (PREDICT, JSON["Content-Type"], b'{"inputs": '),
}


def test_a_body_that_ends_too_early_is_told_so(wire: Wire) -> None:
    for path, content_type, body in SHORT.values():
        request = head(wire, path, f"Content-Type: {content_type}", "Content-Length: 99999") + body
        must_refuse(wire.send(request, ends=True), 400, "incomplete_body")
    assert nothing_is_left(wire)


def test_a_client_that_stops_in_the_middle_is_not_waited_for(wire: Wire) -> None:
    stalled = [
        head(wire, path, f"Content-Type: {content_type}", "Content-Length: 99999") + body
        for path, content_type, body in SHORT.values()
    ]
    chunked = head(wire, PREDICT, "Transfer-Encoding: chunked") + b"1\r\n{\r\n"
    half_a_head = b"GET /healthz HTTP/1.1\r\nHo"
    with ThreadPoolExecutor(8) as pool:
        for answer in pool.map(wire.send, [*stalled, chunked, half_a_head]):
            must_refuse(answer, 408)
    assert nothing_is_left(wire)


def test_a_connection_that_is_cut_halfway_leaves_nothing(wire: Wire, attacked: RunningPlatform) -> None:
    for content_type, body in ((RAW["Content-Type"], ONNX), (FORM["Content-Type"], form(("file", ONNX), ends=False))):
        connection = wire.open()
        connection.sendall(head(wire, VERSIONS, f"Content-Type: {content_type}", "Content-Length: 9999999"))
        connection.sendall(body + bytes(500_000))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()  # with a reset
    assert until(lambda: True if not partial_files(attacked) else None, 60, "cleaning up")
    assert nothing_is_left(wire)


BODIES: dict[str, tuple[bytes, dict[str, str], int | tuple[int, ...]]] = {
    "empty": (b"", JSON, (400, 422)),
    "null": (b"null", JSON, 422),
    "a list": (b"[]", JSON, 422),
    "half of it": (b'{"name', JSON, 400),
    "10,000 deep": (DEEP, JSON, 400),
    "NaN": (b'{"name": NaN}', JSON, 400),
    "beyond a double": (b'{"name": 1e999}', JSON, 400),
    "5,000 digits": (b'{"name": ' + b"9" * 5000 + b"}", JSON, 400),
    "400 digits and a point": (b'{"name": ' + b"9" * 400 + b".0}", JSON, 400),
    "a lone surrogate": (b'{"name": "\\ud800"}', JSON, 400),
    "no UTF-8": (b'{"name": "\xff"}', JSON, 400),
    "NUL": (b'{"name": "a\\u0000"}', JSON, 400),
    "text": (b"{}", {"Content-Type": "text/plain"}, 415),
    "no type": (b"hello", {}, 400),
    "more than 1 MiB": (b'{"description": "' + b"x" * 2_000_000 + b'"}', JSON, 413),
    "50,000 unknown fields": (json.dumps({f"k{n}": n for n in range(50_000)}).encode(), JSON, 422),
    "100,000 wrong tags": (b'{"tags": [' + b"1," * 100_000 + b"1]}", JSON, 422),
}
TARGETS = {
    "a model": ("POST", MODELS),
    "a change of a model": ("PATCH", f"{MODELS}/iris"),
    "a service": ("POST", SERVICES),
    "a change of a service": ("PATCH", f"{SERVICES}/iris"),
    "a webhook": ("POST", "/api/v1/webhooks"),
    "a token": ("POST", "/api/v1/tokens"),
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_body_that_is_no_json_for_this_call_is_refused(wire: Wire, target: str) -> None:
    for body, headers, status in BODIES.values():
        must_refuse(wire.ask(*TARGETS[target], body, headers), status)


MANY: list[object] = [-1, 1.5, 10**30, [1], [[[{}]]], True, "x" * 100_000]
FIELDS = [
    ("POST", MODELS, {"name": "bad"}, ["display_name", "description", "tags", "nmae"]),
    ("POST", MODELS, {}, ["name"]),
    ("POST", SERVICES, {"name": "bad", "model": "iris"}, ["replicas", "resources", "env", "gpu", "runtime"]),
    ("POST", SERVICES, {"name": "bad", "model": "iris", "version": 1}, ["follow", "autoscaling"]),
    ("PATCH", f"{SERVICES}/iris", {}, ["resources", "replicas", "tags", "env", "autoscaling", "status"]),
    ("PATCH", f"{MODELS}/iris/versions/1", {}, ["task", "tags", "metrics", "features", "digest"]),
    ("POST", "/api/v1/webhooks", {"url": "http://localhost:9/"}, ["events", "description", "secret"]),
    ("POST", "/api/v1/webhooks", {}, ["url"]),
    ("POST", f"{SERVICES}/iris/predictions", {"inputs": {}}, ["webhook", "webhook_events_filter", "columns"]),
]


@pytest.mark.parametrize(("method", "path", "base", "names"), FIELDS)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(
    wire: Wire, method: str, path: str, base: dict[str, object], names: list[str]
) -> None:
    for name in names:
        for value in MANY:
            answer = wire.ask_json(method, path, {**base, name: value})
            must_refuse(answer, 422)
            assert any(pointer.split("/")[1] == name for pointer in answer.pointers), (name, value, answer.pointers)
    assert nothing_is_left(wire)
