"""An input in every way in which it may be spelled, through the whole platform: CSV, forms, files, names of places."""

import base64
import json
import struct

import pyarrow as pa
import pytest

from tests.e2e.conftest import EXAMPLES, GOOD, WAIT, succeeds
from tests.e2e.platform import RunningPlatform
from tests.e2e.wire import Answer, Wire, form, must_refuse

NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
NAMED = dict(zip(NAMES, GOOD["inputs"]["float_input"], strict=True))
PREDICT = "/api/v1/services/named/predict"
CSV = {"Content-Type": "text/csv"}
FORM = {"Content-Type": "multipart/form-data; boundary=XX"}
TABLE = b"sepal_length,sepal_width,petal_length,petal_width\r\n5.1,3.5,1.4,0.2\r\n6.9,3.1,4.9,1.5\r\n"


@pytest.fixture(scope="module", autouse=True)
def named(attacked: RunningPlatform) -> str:
    """A service of the iris model whose upload names the places of its vector."""
    wire = Wire(attacked.url)
    parts = form(
        ('file"; filename="iris.onnx', (EXAMPLES / "iris.onnx").read_bytes()),
        ("features", json.dumps({"float_input": NAMES}).encode()),
    )
    succeeds(wire, wire.ask("POST", "/api/v1/models/named/versions", parts, {**FORM, **WAIT}))
    succeeds(wire, wire.ask_json("POST", "/api/v1/services", {"name": "named", "model": "named"}, WAIT))
    return "named"


def outputs(answer: Answer) -> object:
    assert answer.status == 200, answer.body
    return answer.document["outputs"]


def npy(values: list[float]) -> bytes:
    """A .npy file of version 1.0 (NEP 1) with one vector of float32."""
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }" % len(values)
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + struct.pack(f"<{len(values)}f", *values)


def test_the_overview_shows_the_names_and_the_sample_uses_them(wire: Wire) -> None:
    version = wire.ask("GET", "/api/v1/models/named/versions/1").document
    assert version["features"] == {"float_input": NAMES}
    assert list(version["sample"]) == NAMES
    assert list(json.loads(wire.ask("GET", "/api/v1/models/iris/versions/1").body)["sample"]) == ["float_input"]


def test_every_spelling_of_a_record_has_the_same_answer(wire: Wire) -> None:
    good = outputs(wire.ask_json("POST", "/api/v1/services/iris/predict", GOOD))
    values = GOOD["inputs"]["float_input"]
    in_base64 = {"float_input": {"$base64": base64.b64encode(npy(values)).decode()}}
    as_uri = {"float_input": f"data:application/octet-stream;base64,{base64.b64encode(npy(values)).decode()}"}
    for record in (NAMED, GOOD["inputs"], in_base64, as_uri):
        assert outputs(wire.ask_json("POST", PREDICT, {"inputs": record})) == good
    by_place = form(*((name, str(value).encode()) for name, value in NAMED.items()))
    as_file = form(('float_input"; filename="a.npy', npy(values)))
    for body in (by_place, as_file):
        assert outputs(wire.ask("POST", PREDICT, body, FORM)) == good


def test_csv_is_answered_with_csv_and_with_json_where_that_is_asked(wire: Wire) -> None:
    answer = wire.ask("POST", PREDICT, TABLE, CSV)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8; header=present")
    lines = answer.body.decode().split("\r\n")
    assert (lines[0].split(",")[0], len(lines)) == ("label", 4)
    table = outputs(wire.ask("POST", PREDICT, TABLE, {**CSV, "Accept": "application/json"}))
    assert isinstance(table, dict)
    assert table["columns"] == lines[0].split(",")
    assert [str(row[0]) for row in table["data"]] == [line.split(",")[0] for line in lines[1:3]]


def test_a_bad_row_is_told_and_the_others_are_answered_where_that_is_asked(wire: Wire) -> None:
    bad = TABLE.replace(b"6.9", b"wide")
    must_refuse(wire.ask("POST", PREDICT, bad, CSV), 422, pointer="/inputs/1/sepal_length")
    answer = wire.ask("POST", f"{PREDICT}?on_error=record", bad, {**CSV, "Accept": "application/json"})
    table = outputs(answer)
    assert isinstance(table, dict)
    assert table["data"][0][0] is not None
    assert table["data"][1] == [None] * len(table["columns"])
    assert [error["index"] for error in answer.document["errors"]] == [1]


def test_a_test_reads_csv_and_forms_as_well(wire: Wire) -> None:
    path = "/api/v1/models/named/versions/1:test"
    table = outputs(wire.ask("POST", path, TABLE, CSV))
    assert table == outputs(wire.ask("POST", PREDICT, TABLE, {**CSV, "Accept": "application/json"}))
    body = form(*((name, str(value).encode()) for name, value in NAMED.items()))
    assert outputs(wire.ask("POST", path, body, FORM)) == outputs(wire.ask("POST", PREDICT, body, FORM))
    must_refuse(wire.ask("POST", path, b"x", {"Content-Type": "image/png"}), 415)


def test_a_durable_prediction_and_a_test_read_files_of_the_platform(wire: Wire) -> None:
    content = form(('content"; filename="a.npy', npy(GOOD["inputs"]["float_input"])))
    file_id = wire.ask("POST", "/api/v1/files", content, FORM).document["id"]
    body = {"inputs": {"float_input": {"$file": file_id}}}
    good = outputs(wire.ask_json("POST", PREDICT, {"inputs": NAMED}))
    answer = wire.ask_json("POST", "/api/v1/services/named/predictions", body, {"Prefer": "wait=60"})
    assert (answer.document["status"], answer.document["output"]) == ("succeeded", good)
    assert outputs(wire.ask_json("POST", "/api/v1/models/named/versions/1:test", body)) == good
    refused = wire.ask_json("POST", PREDICT, body)
    must_refuse(refused, 422, pointer="/inputs/float_input")


def test_a_durable_prediction_takes_rows_and_forms_and_answers_in_json(wire: Wire) -> None:
    path = "/api/v1/services/named/predictions"
    table = outputs(wire.ask("POST", PREDICT, TABLE, {**CSV, "Accept": "application/json"}))
    made = wire.ask("POST", path, TABLE, {**CSV, "Prefer": "wait=60"}).document
    assert (made["status"], made["output"]) == ("succeeded", table)
    assert made["input"] == {"columns": NAMES, "data": [[5.1, 3.5, 1.4, 0.2], [6.9, 3.1, 4.9, 1.5]]}
    good = outputs(wire.ask_json("POST", PREDICT, {"inputs": NAMED}))
    as_form = form(*((name, str(value).encode()) for name, value in NAMED.items()))
    as_fields = "&".join(f"{name}={value}" for name, value in NAMED.items()).encode()
    fields = {"Content-Type": "application/x-www-form-urlencoded"}
    for body, kind in ((as_form, FORM), (as_fields, fields)):
        made = wire.ask("POST", path, body, {**kind, "Prefer": "wait=60"}).document
        assert (made["status"], made["input"], made["output"]) == ("succeeded", NAMED, good)
        assert outputs(wire.ask("POST", PREDICT, body, kind)) == good
        assert outputs(wire.ask("POST", "/api/v1/models/named/versions/1:test", body, kind)) == good
    failed = wire.ask("POST", path, TABLE.replace(b"6.9", b"wide"), {**CSV, "Prefer": "wait=60"}).document
    assert failed["input"]["data"][1][0] == "wide"
    assert (failed["status"], failed["problem"]["errors"][0]["pointer"]) == ("failed", "/inputs/1/sepal_length")


def test_arrow_and_lines_are_answered_in_their_kind_and_kept_as_json(wire: Wire) -> None:
    durable, trial = "/api/v1/services/named/predictions", "/api/v1/models/named/versions/1:test"
    rows = pa.table([[5.1, 6.9], [3.5, 3.1], [1.4, 4.9], [0.2, 1.5]], NAMES)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    arrow, stream = {"Content-Type": "application/vnd.apache.arrow.stream"}, sink.getvalue().to_pybytes()
    table = outputs(wire.ask("POST", PREDICT, TABLE, {**CSV, "Accept": "application/json"}))
    answer = pa.ipc.open_stream(wire.ask("POST", PREDICT, stream, arrow).body).read_all()
    assert {"columns": answer.column_names, "data": [list(row.values()) for row in answer.to_pylist()]} == table
    lines = {"Content-Type": "application/x-ndjson"}
    records = "\n".join(json.dumps(row) for row in rows.to_pylist()).encode()
    told = wire.ask("POST", PREDICT, records, lines).body.splitlines()
    listed = outputs(wire.ask_json("POST", PREDICT, {"inputs": rows.to_pylist()}))
    assert [json.loads(line) for line in told] == listed
    data = [list(row.values()) for row in rows.to_pylist()]
    for kind, body, given, output in (
        (arrow, stream, {"columns": NAMES, "data": data}, table),
        (lines, records, {"inputs": rows.to_pylist()}, listed),
    ):
        made = wire.ask("POST", durable, body, {**kind, "Prefer": "wait=60"}).document
        assert (made["status"], made["output"]) == ("succeeded", output)
        assert made["input"] in (given, given.get("inputs"))
        assert outputs(wire.ask("POST", trial, body, kind)) == output


def test_a_durable_prediction_answers_the_good_records_where_that_is_asked(wire: Wire) -> None:
    path = "/api/v1/services/named/predictions?on_error=record"
    bad = TABLE.replace(b"6.9", b"wide")
    at_once = wire.ask("POST", f"{PREDICT}?on_error=record", bad, {**CSV, "Accept": "application/json"}).document
    made = wire.ask("POST", path, bad, {**CSV, "Prefer": "wait=60"}).document
    assert made["status"] == "succeeded"
    assert made["output"] == {"outputs": at_once["outputs"], "errors": at_once["errors"]}
    records = {"inputs": [NAMED, {**NAMED, "sepal_length": None}]}
    made = wire.ask_json("POST", path, records, {"Prefer": "wait=60"}).document
    assert (made["input"], made["output"]["outputs"][1]) == (records, None)
    assert [each["index"] for each in made["output"]["errors"]] == [1]
    made = wire.ask_json("POST", path, {"inputs": [NAMED]}, {"Prefer": "wait=60"}).document
    assert made["output"]["errors"] == []


def test_names_may_be_changed_and_hold_after_a_restart(wire: Wire) -> None:
    short = ["a", "b", "c", "d"]
    wire.ask_json("PATCH", "/api/v1/models/named/versions/1", {"features": {"float_input": short}})
    record = dict(zip(short, GOOD["inputs"]["float_input"], strict=True))
    must_refuse(wire.ask_json("POST", PREDICT, {"inputs": record}), 422, pointer="/inputs/a")
    succeeds(wire, wire.ask_json("POST", "/api/v1/services/named:restart", {}))
    outputs(wire.ask_json("POST", PREDICT, {"inputs": record}))
    code = wire.ask("GET", "/api/v1/services/named/snippets").document["curl"]
    assert '"a"' in code


def test_names_that_do_not_fit_make_the_upload_invalid(wire: Wire) -> None:
    parts = form(
        ('file"; filename="iris.onnx', (EXAMPLES / "iris.onnx").read_bytes()), ("features", b'{"float_input": ["a"]}')
    )
    answer = wire.ask("POST", "/api/v1/models/unfit/versions", parts, {**FORM, **WAIT})
    problem = answer.document
    assert (answer.status, problem["code"]) == (422, "features_do_not_fit"), answer.body
    assert problem["errors"][0]["pointer"] == "/features/float_input"
