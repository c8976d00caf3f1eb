"""Lines of JSON: a record in each, an answer in each, and what a bad line is told."""

import json

import pytest

from serving.answering import read
from serving.json_lines import MOST_DAMAGED
from serving.media import LINES
from serving.messages import Response
from serving.signature import InputField
from tests.serving.bodies import refused, send, text
from tests.serving.models import echo_scorer, scalar
from tests.serving.wire import Wire, request

PERSON = (scalar("age"), InputField("job", "BYTES", (-1,), required=False, nullable=True))
TWO = b'{"age":1.5,"job":"clerk"}\n{"age":2.5}\n'


def told(response: Response) -> list[object]:
    assert response.content_type == LINES[0]
    return [json.loads(line) for line in response.body.splitlines()]


@pytest.mark.parametrize("kind", [*LINES, "Application/X-NDJSON; charset=utf-8"])
def test_each_line_is_answered_in_its_line(kind: str) -> None:
    answer = send(echo_scorer(*PERSON), TWO, kind)
    assert told(answer) == [{"age": 1.5, "job": "clerk"}, {"age": 2.5, "job": None}]


def test_blank_lines_and_other_ends_of_lines_do_not_matter() -> None:
    body = b'\n{"age":1}\r\n \r\n\n{"age":2}'
    assert told(send(echo_scorer(*PERSON), body, LINES[0])) == [{"age": 1, "job": None}, {"age": 2, "job": None}]


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        (b"", "/inputs", "no lines"),
        (b"\n \n", "/inputs", "no lines"),
        (b'{"age":1}\n\n{"age":"old"}\n', "/inputs/1/age", "'old'"),
        (b'{"age":1}\n{"agee":1}\n', "/inputs/1/agee", "not an input"),
        (b'{"age":1}\n[1]\n', "/inputs/1", "must be an object"),
        (b'{"age":1}\n\n{"age":}\n', "/inputs/1", "the line is not JSON"),
        (b'{"age":1}\n{"job":"\xff"}\n', "/inputs/1", "UTF-8"),
        (b'{"age":1}\n' + b"[" * 100_000, "/inputs/1", "nested too deeply"),
    ],
)
def test_a_bad_line_refuses_all_by_its_number(body: bytes, pointer: str, words: str) -> None:
    problem = refused(echo_scorer(*PERSON), body, LINES[0])
    assert (problem.status, problem.errors[0].pointer) == (422, pointer)
    assert words in problem.errors[0].detail


def test_a_bad_line_is_told_in_its_line_where_that_is_asked() -> None:
    body = b'{"age":1}\n{"age":\n{"age":"old"}\n{"age":2}\n'
    answers = told(send(echo_scorer(*PERSON), body, LINES[0], keeps_going=True))
    assert (answers[0], answers[3]) == ({"age": 1, "job": None}, {"age": 2, "job": None})
    faults = [answer["error"] for answer in answers[1:3] if isinstance(answer, dict)]
    assert [(fault["index"], fault["errors"][0]["pointer"]) for fault in faults] == [
        (1, "/inputs/1"),
        (2, "/inputs/2/age"),
    ]


def test_what_is_hardly_json_is_refused_soon() -> None:
    problem = refused(echo_scorer(*PERSON), b"a,b\n" * (MOST_DAMAGED + 1), LINES[0])
    assert (problem.status, problem.code) == (400, "malformed_json")


def test_lines_are_answered_in_json_or_csv_where_that_is_liked_better() -> None:
    scorer = echo_scorer(*PERSON)
    outputs = [{"age": 1.5, "job": "clerk"}, {"age": 2.5, "job": None}]
    assert json.loads(send(scorer, TWO, LINES[0], "application/json").body)["outputs"] == outputs
    assert text(send(scorer, TWO, LINES[0], "text/csv")) == "age,job\r\n1.5,clerk\r\n2.5,\r\n"
    in_json = json.dumps({"inputs": [{"age": 1.5, "job": "clerk"}, {"age": 2.5}]})
    assert told(send(scorer, in_json, "application/json", "application/x-ndjson, */*;q=0.1")) == outputs
    assert told(send(scorer, json.dumps({"inputs": {"age": 1}}), "", "application/jsonl")) == [{"age": 1, "job": None}]


def test_workers_can_ask_what_lines_mean() -> None:
    answer = read(echo_scorer(*PERSON), b'{"age":1}\nx\n', {b"content-type": LINES[0].encode()})
    assert json.loads(answer.body) == {"inputs": [{"age": 1}, None]}


async def test_lines_are_answered_at_the_predict_path(wire: Wire) -> None:
    wire.send(request("POST", "/predict", b'{"x":[1,2]}\n{"x":[3,4]}', content_type="application/x-ndjson"))
    wire.send(request("POST", "/predict", {"inputs": {"x": [1, 2]}}, accept="application/x-ndjson"))
    wire.send(request("POST", "/v2/models/iris/infer", b"{}", content_type="application/x-ndjson"))
    replies = [await wire.reply() for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 415]
    assert replies[0].headers["content-type"] == "application/x-ndjson"
    assert [reply.body for reply in replies[:2]] == [b'{"y":[2.0,4.0]}\n{"y":[6.0,8.0]}\n', b'{"y":[2.0,4.0]}\n']
