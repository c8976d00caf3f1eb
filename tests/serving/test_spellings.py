"""What a prediction's body may be beside JSON, what its answer may be, and what is done about bad records."""

import base64
import io
import json
import math
import os
import random

import numpy as np
import pytest

from serving.answering import read
from serving.engines.base import Columns, PredictionRefused
from serving.forms import read_form
from serving.json_text import parse
from serving.problems import Problem
from serving.score import Scorer
from serving.signature import InputField, OutputField
from serving.validate import Validator
from tests.serving.bodies import form, npy, refused, send, text
from tests.serving.models import IDENTITY, PythonModel, echo_scorer, scalar, signature_of

FLOWER = InputField("flower", "FP32", (-1, 2), features=("length", "width"))
JOB = InputField("job", "BYTES", (-1,))
MIXED = (scalar("age"), JOB, InputField("child", "BOOL", (-1,)), InputField("rooms", "INT32", (-1,)))


# ---- CSV


def test_csv_is_answered_with_csv_row_by_row() -> None:
    answer = send(echo_scorer(*MIXED), 'age,job,child,rooms\r\n1.5,clerk,true,3\r\n2,"a, b",0,4.0\r\n')
    assert text(answer) == 'age,job,child,rooms\r\n1.5,clerk,true,3\r\n2.0,"a, b",false,4\r\n'


def test_csv_columns_may_come_in_any_order_and_with_other_separators() -> None:
    scorer = echo_scorer(*MIXED)
    for separator in ";\t|":
        body = "rooms,age,job,child\n3,1.5,clerk,TRUE\n".replace(",", separator)
        assert text(send(scorer, "\ufeff" + body)) == "age,job,child,rooms\r\n1.5,clerk,true,3\r\n"


def test_csv_uses_the_names_of_a_vectors_places() -> None:
    answer = send(echo_scorer(FLOWER, JOB), "width,length,job\n2,1,clerk\n", accept="application/json")
    assert parse(answer.body)["outputs"] == {"columns": ["flower", "job"], "data": [[[1, 2], "clerk"]]}  # type: ignore[index]


def test_csv_fills_a_vector_without_names_by_position_where_the_width_matches() -> None:
    scorer = echo_scorer(InputField("x", "FP32", (-1, 2)))
    answer = send(scorer, "a,b\n1,2\n3,4\n", accept="application/json")
    assert parse(answer.body)["outputs"]["data"] == [[[1, 2]], [[3, 4]]]  # type: ignore[index]
    assert refused(scorer, "a,b,c\n1,2,3\n").errors[0].pointer == "/columns/0"


def test_csv_without_a_header_fills_the_inputs_in_their_order() -> None:
    scorer = echo_scorer(FLOWER, JOB)
    answer = send(scorer, "1,2,clerk\n", "text/csv; header=absent", accept="application/json")
    assert parse(answer.body)["outputs"]["data"] == [[[1, 2], "clerk"]]  # type: ignore[index]
    assert refused(scorer, "1,2\n", "text/csv; header=absent").status == 422


def test_a_charset_is_honoured_and_an_unknown_one_refused() -> None:
    scorer = echo_scorer(JOB)
    answer = send(scorer, "job\nBäcker\n".encode("latin-1"), "text/csv; charset=latin-1")
    assert text(answer) == "job\r\nBäcker\r\n"
    assert refused(scorer, "job\nBäcker\n".encode("latin-1")).code == "malformed_csv"
    assert refused(scorer, "job\nx\n", "text/csv; charset=klingon").status == 415


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ("", "/columns", "empty"),
        ("age,job,child,rooms\n", "/inputs", "no rows"),
        ("age,job,child,rooms\n1,a,true\n", "/inputs/0", "has 3 values where 4"),
        ("age,job,child,rooms\n1,a,true,1\n1,a,true,1.5\n", "/inputs/1/rooms", "1.5"),
        ("age,job,child,rooms\n1,a,perhaps,1\n", "/inputs/0/child", "'perhaps'"),
        ("age,job,child,rooms\nold,a,true,1\n", "/inputs/0/age", "'old'"),
        ("age,job,child,rooms\n,a,true,1\n", "/inputs/0/age", "null"),
        ("age,job,child,rooms\ninf,a,true,1\n", "/inputs/0/age", "'inf'"),
        ("age,job,child\n1,a,true\n", "/columns", "rooms"),
        ("age,job,child,rooms,age\n1,a,true,1,1\n", "/columns/4", "twice"),
        ("age,job,child,room\n1,a,true,1\n", "/columns/3", "not an input"),
    ],
)
def test_what_does_not_fit_is_named(body: str, pointer: str, words: str) -> None:
    problem = refused(echo_scorer(*MIXED), body)
    assert (problem.status, problem.errors[0].pointer) == (422, pointer)
    assert words in problem.errors[0].detail


def test_what_is_no_csv_is_refused() -> None:
    assert refused(echo_scorer(JOB), 'job\n"never ends\n').code == "malformed_csv"


def test_an_empty_cell_is_a_missing_value() -> None:
    scorer = echo_scorer(InputField("age", "FP64", (-1,), nullable=True), JOB)
    assert text(send(scorer, "age,job\n,clerk\nNaN,nurse\n")) == "age,job\r\n,clerk\r\n,nurse\r\n"


@pytest.mark.parametrize(
    ("accept", "content_type", "is_csv"),
    [
        ("", "text/csv", True),
        ("*/*", "text/csv", True),
        ("application/json", "text/csv", False),
        ("text/csv", "application/json", True),
        ("text/csv;q=0.5, application/json", "application/json", False),
        ("text/csv, */*;q=0.1", "application/json", True),
        ("*/*", "application/json", False),
        ("text/html", "text/tab-separated-values", True),
    ],
)
def test_the_answers_type_is_what_the_client_accepts(accept: str, content_type: str, is_csv: bool) -> None:
    body = '{"inputs": {"job": "clerk"}}' if content_type == "application/json" else "job\nclerk\n"
    answer = send(echo_scorer(JOB), body, content_type, accept)
    assert answer.content_type.startswith("text/csv") is is_csv


def test_tensors_cannot_be_told_in_csv() -> None:
    with pytest.raises(Problem) as caught:
        send(echo_scorer(JOB), '{"tensors": {"job": ["a"]}}', "application/json", "text/csv")
    assert caught.value.status == 406


def test_numbers_survive_the_way_through_csv_bit_by_bit() -> None:
    drawn = random.Random(5)
    numbers = [math.ldexp(drawn.random(), drawn.randrange(-300, 300)) for _ in range(500)]
    answer = text(send(echo_scorer(scalar("age")), "age\n" + "\n".join(map(repr, numbers))))
    assert list(map(float, answer.split("\r\n")[1:-1])) == numbers


# ---- forms and files


def test_a_form_is_one_record() -> None:
    body, kind = form(("age", "", b"1.5"), ("job", "", b"clerk"), ("child", "", b"false"), ("rooms", "", b"3"))
    answer = send(echo_scorer(*MIXED), body, kind)
    assert json.loads(answer.body)["outputs"] == {"age": 1.5, "job": "clerk", "child": False, "rooms": 3}


def test_a_form_may_name_places_or_bring_a_list() -> None:
    by_place = form(("width", "", b"2"), ("length", "", b"1"), ("job", "", b"a"))
    as_list = form(("flower", "", b"[1, 2]"), ("job", "", b"a"))
    as_json = form(("flower", "\r\nContent-Type: application/json", b"[1, 2]"), ("job", "", b"a"))
    for body, kind in (by_place, as_list, as_json):
        assert json.loads(send(echo_scorer(FLOWER, JOB), body, kind).body)["outputs"]["flower"] == [1, 2]


def test_a_file_is_text_or_an_array_or_bytes_as_its_input_takes_it() -> None:
    image = InputField("image", "FP32", (-1, 2, 3))
    raw = InputField("raw", "UINT8", (-1, -1))
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    file = '; filename="x"\r\nContent-Type: application/octet-stream'
    body, kind = form(("image", file, npy(array)), ("raw", file, b"\x00\r\n\xff"), ("job", file, "Bäcker".encode()))
    outputs = json.loads(send(echo_scorer(image, raw, JOB), body, kind).body)["outputs"]
    assert outputs == {"image": array.tolist(), "raw": [0, 13, 10, 255], "job": "Bäcker"}


@pytest.mark.parametrize("kind", ["$base64", "data URI"])
def test_json_may_carry_files(kind: str) -> None:
    image = InputField("image", "FP32", (-1, 2, 3))
    array = np.arange(6, dtype=np.float32).reshape(2, 3)

    def carried(data: bytes) -> object:
        encoded = base64.b64encode(data).decode()
        return {"$base64": encoded} if kind == "$base64" else f"data:application/octet-stream;base64,{encoded}"

    body = {"inputs": [{"image": carried(npy(array)), "job": carried("Bäcker".encode())}]}
    outputs = json.loads(send(echo_scorer(image, JOB), json.dumps(body), "application/json").body)["outputs"]
    assert outputs == [{"image": array.tolist(), "job": "Bäcker"}]


def test_text_that_only_looks_like_a_data_uri_stays_text() -> None:
    for words in ("data: none", "data:text/plain,hello", "database64,", "data"):
        body = json.dumps({"inputs": {"job": words}})
        assert json.loads(send(echo_scorer(JOB), body, "application/json").body)["outputs"]["job"] == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"$base64": "a"}, "base64"),
        ({"$base64": 3}, "no text"),
        ({"$file": "file_1"}, "cannot be read here"),
        ({"$base64": "", "name": "x"}, "an object"),
        ("data:image/png;base64,!!", "base64"),
        ({"$base64": base64.b64encode(b"\xff").decode()}, "not UTF-8"),
        ({"$base64": base64.b64encode(b"\x93NUMPY\x01").decode()}, ".npy"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(value: object, words: str) -> None:
    problem = refused(echo_scorer(JOB), json.dumps({"inputs": [{"job": value}]}), "application/json")
    assert (problem.status, problem.errors[0].pointer) == (422, "/inputs/0/job")
    assert words in problem.errors[0].detail


def test_an_array_with_objects_is_never_unpickled() -> None:
    out = io.BytesIO()
    np.save(out, np.array([os.getpid], dtype=object), allow_pickle=True)
    body, kind = form(("image", '; filename="x.npy"', out.getvalue()))
    assert (
        "cannot be read" in refused(echo_scorer(InputField("image", "FP32", (-1, 2, 3))), body, kind).errors[0].detail
    )


@pytest.mark.parametrize(
    ("parts", "pointer", "words"),
    [
        ([("job", "", b"a"), ("job", "", b"b")], "/inputs/job", "twice"),
        ([("jobs", "", b"a"), ("job", "", b"a")], "/inputs/jobs", "not an input"),
        ([("age", "", b"a")], "/inputs/job", "missing"),
        ([("job", "", b"\xff")], "/inputs/job", "not UTF-8"),
        ([("age", '; filename="x"', b"abc"), ("job", "", b"a")], "/inputs/age", "a file of 3 bytes"),
    ],
)
def test_a_part_that_does_not_fit_is_named(parts: list[tuple[str, str, bytes]], pointer: str, words: str) -> None:
    fields = (JOB, InputField("age", "FP64", (-1,), required=False, nullable=True))
    problem = refused(echo_scorer(*fields), *form(*parts))
    found = {error.pointer: error.detail for error in problem.errors}
    assert words in found[pointer]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"nothing", "multipart/form-data; boundary=XX"),
        (b"--XX\r\n\r\n1\r\n--XX--\r\n", "multipart/form-data; boundary=XX"),
        (b"--XX--", "multipart/form-data"),
        (b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\n1', "multipart/form-data; boundary=XX"),
    ],
)
def test_what_is_no_form_is_refused(body: bytes, kind: str) -> None:
    problem = refused(echo_scorer(JOB), body, kind)
    assert (problem.status, problem.code) == (400, "malformed_form")


def test_a_forms_bytes_stay_as_they_are() -> None:
    drawn = random.Random(1)
    validator = Validator(signature_of((InputField("raw", "UINT8", (-1, -1)),)))
    for _ in range(300):
        data = drawn.randbytes(drawn.randrange(1, 60)) + drawn.choice([b"", b"\r", b"\n", b"\r\n", b"\r\r\n\r"])
        body, kind = form(("raw", '; filename="x"', data))
        (call,) = validator.question({"inputs": read_form(validator, body, kind.encode())}).calls
        assert call["raw"][0].tobytes() == data


def test_a_tab_separates_where_the_type_says_so() -> None:
    scorer = echo_scorer(JOB, scalar("age, in years"))
    body = "age, in years\tjob\n1\ta,b\n"
    assert text(send(scorer, body, "text/tab-separated-values")) == 'job,"age, in years"\r\n"a,b",1.0\r\n'


@pytest.mark.parametrize("before", ["", "\n", "\r\n\r\n"])
def test_a_separator_in_quotes_or_behind_empty_lines_is_told_apart(before: str) -> None:
    scorer = echo_scorer(JOB, scalar("age, in\nyears"))
    body = before + '"age, in\nyears";job\n1;a\n'
    assert text(send(scorer, body)) == 'job,"age, in\nyears"\r\na,1.0\r\n'


def test_pythons_own_spelling_of_numbers_is_not_read() -> None:
    for value in ("age", "rooms"):
        row = {"age": "1.5", "job": "a", "child": "1", "rooms": "3"} | {value: "1_5"}
        problem = refused(echo_scorer(*MIXED), f"{','.join(row)}\n{','.join(row.values())}\n")
        assert (problem.errors[0].pointer, "1_5" in problem.errors[0].detail) == (f"/inputs/0/{value}", True)


# ---- the others are answered


def doubling(columns: Columns) -> Columns:
    """Twice `age`; refuses all of a call in which one is 13, as engines do."""
    if 13 in columns["age"].tolist():
        raise PredictionRefused("thirteen")
    return {"twice": columns["age"] * 2}


def doubler() -> Scorer:
    outputs = (OutputField("twice", "FP64", (-1,)),)
    return Scorer(signature_of((scalar("age"),), outputs), PythonModel(doubling), IDENTITY)


def test_a_bad_record_spoils_no_other_where_that_is_asked() -> None:
    body = json.dumps({"inputs": [{"age": 1}, {"age": "x"}, {"agee": 2}, {"age": 13}, {"age": 3}]})
    answer = json.loads(send(doubler(), body, "application/json", keeps_going=True).body)
    assert answer["outputs"] == [{"twice": 2}, None, None, None, {"twice": 6}]
    assert [(each["index"], each["code"]) for each in answer["errors"]] == [
        (1, "invalid_input"), (2, "invalid_input"), (3, "prediction_refused"),
    ]  # fmt: skip
    assert answer["errors"][0]["errors"][0]["pointer"] == "/inputs/1/age"
    assert answer["errors"][0]["detail"].startswith("/inputs/1/age")
    assert answer["model"] == IDENTITY.model


def test_a_bad_row_of_a_table_or_of_csv_is_empty_and_told() -> None:
    table = json.dumps({"columns": ["age"], "data": [[1], ["x"], [3]]})
    answer = json.loads(send(doubler(), table, "application/json", keeps_going=True).body)
    assert answer["outputs"] == {"columns": ["twice"], "data": [[2], [None], [6]]}
    assert answer["errors"][0]["errors"][0]["pointer"] == "/data/1/0"
    told = text(send(doubler(), "age\n1\nx\n3\n", keeps_going=True)).split("\r\n")
    assert told[0] == "twice,error"
    assert (told[1], told[3]) == ("2.0,", "6.0,")
    assert told[2].startswith(",")
    assert "/inputs/1/age" in told[2]


def test_a_row_of_another_length_spoils_no_other() -> None:
    answer = send(doubler(), "age\n1\n2,3\n3\n4,5,6\n", accept="application/json", keeps_going=True)
    told = json.loads(answer.body)
    assert told["outputs"] == {"columns": ["twice"], "data": [[2], [None], [6], [None]]}
    assert [(each["index"], each["errors"][0]["pointer"]) for each in told["errors"]] == [
        (1, "/inputs/1"), (3, "/inputs/3"),
    ]  # fmt: skip
    assert "has 2 values where 1" in told["errors"][0]["detail"]


def test_rows_that_are_all_bad_are_still_a_table() -> None:
    for body in ("age\nx\ny\n", "age\n1,2\n3,4\n"):
        told = json.loads(send(doubler(), body, accept="application/json", keeps_going=True).body)
        assert (told["outputs"], len(told["errors"])) == ({"columns": [], "data": [[], []]}, 2)


def test_what_is_wrong_with_all_of_it_is_still_refused() -> None:
    for body in ('{"columns": ["agee"], "data": [[1]]}', '{"inputs": []}', '{"inputs": {"age": "x"}}', "[1]"):
        with pytest.raises(Problem):
            send(doubler(), body, "application/json", keeps_going=True)


def test_all_bad_records_are_all_told() -> None:
    body = json.dumps({"inputs": [{"age": "x"}, {"age": None}]})
    answer = json.loads(send(doubler(), body, "application/json", keeps_going=True).body)
    assert (answer["outputs"], len(answer["errors"])) == ([None, None], 2)


def test_good_records_are_answered_as_without_it() -> None:
    body = json.dumps({"inputs": [{"age": 1}, {"age": 2}]})
    answers = [json.loads(send(doubler(), body, "application/json", keeps_going=going).body) for going in (True, False)]
    assert answers[0] == answers[1]


# ---- what a web page's form is, and what any of them is in JSON


FIELDS = "application/x-www-form-urlencoded"


def read_back(scorer: Scorer, body: bytes, kind: str) -> object:
    return parse(read(scorer, body, {b"content-type": kind.encode()}).body)


def test_a_web_pages_form_is_one_record() -> None:
    answer = send(echo_scorer(*MIXED), "age=1.5&job=a%26b+c&child=true&rooms=3", FIELDS)
    assert parse(answer.body)["outputs"] == {"age": 1.5, "job": "a&b c", "child": True, "rooms": 3}  # type: ignore[index]


def test_json_that_a_client_calls_a_form_is_json() -> None:
    answer = send(echo_scorer(JOB), ' {"inputs": {"job": "a"}}', FIELDS)
    assert parse(answer.body)["outputs"] == {"job": "a"}  # type: ignore[index]


def test_a_web_pages_form_is_refused_by_its_fields() -> None:
    assert refused(echo_scorer(scalar("age")), "age=old", FIELDS).errors[0].pointer == "/inputs/age"
    assert refused(echo_scorer(scalar("age")), "age=1&age=2", FIELDS).errors[0].pointer == "/inputs/age"
    problem = refused(echo_scorer(scalar("age")), "&".join(["age=1"] * 10_001), FIELDS)
    assert (problem.status, problem.code) == (400, "malformed_form")
    assert refused(echo_scorer(scalar("age")), b"age=%ff", FIELDS).code == "malformed_form"


def test_rows_and_forms_are_read_back_as_the_json_that_asks_the_same() -> None:
    scorer = echo_scorer(FLOWER, JOB)
    table = read_back(scorer, b"job;width;length\nclerk;2;1.50\nx;wide\n", "text/csv")
    assert table == {"columns": ["job", "width", "length"], "data": [["clerk", 2, 1.5], ["x", "wide"]]}
    assert read_back(scorer, b"length=1&width=2&job=a", FIELDS) == {"inputs": {"length": 1, "width": 2, "job": "a"}}
    body, kind = form(("flower", '; filename="x.npy"', npy(np.array([1.0, 2.0], np.float32))), ("job", "", b"a"))
    shown = read_back(scorer, body, kind)
    again = send(scorer, json.dumps(shown), "application/json")
    assert parse(again.body)["outputs"] == {"flower": [1, 2], "job": "a"}  # type: ignore[index]
    assert read_back(scorer, b'{"inputs": {}}', "application/json") == {"inputs": {}}
