"""Bodies that were made to break their reader: each is refused in words, and soon."""

import base64
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.answering import MOST_FAULTS
from serving.json_text import parse
from serving.problems import Problem
from serving.signature import InputField
from serving.validate import Validator
from tests.serving.bodies import form, npy, refused, send, text
from tests.serving.models import echo_scorer, scalar, signature_of

JOB = InputField("job", "BYTES", (-1,))
IMAGE = InputField("image", "FP32", (-1, -1, -1))
WORDS = InputField("words", "BYTES", (-1, -1))
LOST_S = 15.0  # of which a busy processor takes three; what the wrong algorithms need is minutes or hours


@contextmanager
def soon() -> Iterator[None]:
    """The block takes little of the processor's time."""
    begin = time.process_time()
    yield
    assert time.process_time() - begin < LOST_S


def outputs(fields: tuple[InputField, ...], record: object) -> object:
    answer = send(echo_scorer(*fields), json.dumps({"inputs": record}), "application/json")
    return json.loads(answer.body)["outputs"]


def as_json(data: bytes) -> dict[str, str]:
    return {"$base64": base64.b64encode(data).decode()}


# ---- data URIs


@pytest.mark.parametrize(
    "words",
    ["data:" + "a" * 300_000, "data:a/" + "b" * 300_000, "data:" + ";a=b" * 100_000, "data:;a=" + "b" * 300_000],
)
def test_what_begins_like_a_data_uri_is_soon_seen_to_be_text(words: str) -> None:
    with soon():
        assert outputs((JOB,), {"job": words}) == {"job": words}


def test_a_data_uri_may_have_parameters() -> None:
    uri = 'data:text/plain;charset=utf-8;name="a.txt";base64,YQ=='
    assert outputs((JOB,), {"job": uri}) == {"job": "a"}


# ---- .npy files


def told(descr: str, shape: str) -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


def by_hand(header: str, values: bytes = b"", version: int = 1) -> bytes:
    size = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + header.encode("latin-1") + values


BOMBS = {
    "a billion empty rows": by_hand(told("'<f4'", "(1000000000, 0)")),
    "a billion empty texts": by_hand(told("'<U0'", "(1000000000, 1)")),
    "64 dimensions": by_hand(told("'<f4'", f"({'1, ' * 64})"), bytes(4)),
    "more than the memory": by_hand(told("'<f4'", "(1000000000000000, 1)"), bytes(4)),
    "more than any integer": by_hand(told("'<f4'", "(10**30, 1)".replace("10**30", "1" + "0" * 30)), bytes(4)),
    "a number of 9000 digits": by_hand(told("'<f4'", f"({'9' * 9000}, 1)"), bytes(4)),
    "less than nothing": by_hand(told("'<f4'", "(-1, -1)"), bytes(4)),
    "an open bracket": by_hand("{("),
    "a list as a key": by_hand("{[]:1}"),
    "no dictionary": by_hand("1"),
    "no keys": by_hand("{}"),
    "a deep header": by_hand("-" * 9000 + "1"),
    "deep brackets": by_hand("[" * 9000, version=2),
    "a header longer than it may be": by_hand(" " * 60_000),
    "a version to come": by_hand(told("'<f4'", "(1, 1)"), bytes(4), version=9),
    "objects": by_hand(told("'|O'", "(1, 1)"), bytes(8)),
    "a structure": by_hand(told("[('a', '<f4')]", "(1, 1)"), bytes(4)),
    "an array in an array": by_hand(told("('<f4', (2,))", "(1, 1)"), bytes(8)),
    "complex numbers": by_hand(told("'<c8'", "(1, 1)"), bytes(8)),
    "too few values": by_hand(told("'<f4'", "(2, 2)"), bytes(12)),
    "too many values": by_hand(told("'<f4'", "(2, 2)"), bytes(20)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_npy_file_that_cannot_be_is_refused_at_its_input(name: str) -> None:
    with soon():
        body, kind = form(("image", '; filename="x.npy"', BOMBS[name]))
        problem = refused(echo_scorer(IMAGE), body, kind)
        assert (problem.status, problem.errors[0].pointer) == (422, "/inputs/image")
        problem = refused(echo_scorer(IMAGE), json.dumps({"inputs": [{"image": as_json(BOMBS[name])}]}), "")
        assert (problem.status, problem.errors[0].pointer) == (422, "/inputs/0/image")


def test_texts_that_are_not_unicode_are_refused() -> None:
    for number in (0xD800, 0x110000):
        file = by_hand(told("'<U1'", "(1,)"), number.to_bytes(4, "little"))
        assert "not Unicode" in refused(echo_scorer(WORDS), *form(("words", '; filename="x"', file))).errors[0].detail


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        np.arange(6, dtype=">f8").reshape(3, 2),
    ],
)
def test_arrays_of_any_order_arrive(array: NDArray[np.generic]) -> None:
    assert outputs((IMAGE,), {"image": as_json(npy(array))}) == {"image": array.tolist()}


def test_an_array_may_hold_texts_which_are_no_files_again() -> None:
    words = ["größe", "data:;base64,YQ==", ""]
    for order in "<>":
        file = npy(np.array(words, dtype=f"{order}U20"))
        assert outputs((WORDS,), {"words": as_json(file)}) == {"words": words}


def test_a_number_alone_may_stand_for_its_list() -> None:
    one = InputField("one", "FP32", (-1, 1))
    assert outputs((one,), {"one": as_json(npy(np.array(2.5)))}) == {"one": [2.5]}


def test_nan_in_an_array_is_a_missing_value() -> None:
    array = np.array([[1.0, np.nan]])
    nullable = InputField("image", "FP32", (-1, -1, -1), nullable=True)
    assert outputs((nullable,), {"image": as_json(npy(array))}) == {"image": [[1, None]]}
    problem = refused(echo_scorer(IMAGE), json.dumps({"inputs": [{"image": as_json(npy(array))}]}), "")
    # No pointer leads into a file.
    assert [error.pointer for error in problem.errors] == ["/inputs/0/image"]


@pytest.mark.parametrize("array", [np.array([[math.nan, 1.0]]), np.array([[1.0, math.inf]]), np.array([["a", "b"]])])
def test_an_array_of_what_is_no_number_is_refused(array: NDArray[np.generic]) -> None:
    problem = refused(echo_scorer(IMAGE), json.dumps({"inputs": [{"image": as_json(npy(array))}]}), "")
    assert {error.pointer for error in problem.errors} == {"/inputs/0/image"}


def test_arrays_of_one_request_have_one_shape() -> None:
    records = [{"image": as_json(npy(np.ones(shape)))} for shape in ((1, 2), (2, 2))]
    problem = refused(echo_scorer(IMAGE), json.dumps({"inputs": records}), "")
    assert [error.pointer for error in problem.errors] == ["/inputs/1/image"]


def test_a_text_file_is_no_data_uri() -> None:
    body, kind = form(("job", '; filename="a.txt"', b"data:;base64,YQ=="))
    assert json.loads(send(echo_scorer(JOB), body, kind).body)["outputs"] == {"job": "data:;base64,YQ=="}


# ---- names that are wrong by the thousand


MANY = Validator(signature_of(tuple(scalar(f"field_{number}") for number in range(4000))))
WRONG = {f"filed_{number}": 1 for number in range(4000)}


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": WRONG}, {"inputs": [WRONG]}, {"inputs": [{name: 1} for name in WRONG]}, {"tensors": WRONG}, WRONG,
        {"columns": list(WRONG), "data": [[1] * len(WRONG)]},
    ],
)  # fmt: skip
def test_thousands_of_wrong_names_are_soon_refused(body: object) -> None:
    with soon(), pytest.raises(Problem) as caught:
        MANY.question(body)
    assert len(caught.value.errors) == 20


def test_thousands_of_bad_records_are_soon_told_one_by_one() -> None:
    scorer = echo_scorer(*(scalar(f"field_{number}") for number in range(300)))
    records = [{f"filed_{number + at}": 1 for at in range(20)} for number in range(1000)]
    with soon():
        answer = send(scorer, json.dumps({"inputs": records}), "application/json", keeps_going=True)
    faults = json.loads(answer.body)["errors"]
    assert len(faults) == len(records)
    assert "did you mean" in faults[0]["errors"][0]["hint"]
    assert "this model takes" in faults[-1]["errors"][0]["hint"]


def test_more_bad_records_than_can_be_told_refuse_the_whole() -> None:
    body = b'{"inputs": [{"x": 1}, ' + b",".join([b"{}"] * 100_000) + b"]}"
    with soon(), pytest.raises(Problem) as caught:
        send(echo_scorer(scalar("x")), body, "application/json", keeps_going=True)
    assert (caught.value.status, caught.value.code) == (422, "invalid_input")
    assert caught.value.detail == f"more than {MOST_FAULTS} records are bad; /inputs/1/x: is missing"


# ---- forms


def part(head: str, content: bytes = b"a", times: int = 1) -> bytes:
    """A form that has this part so many times."""
    return (b"--XX\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n") * times + b"--XX--\r\n"


KIND = "multipart/form-data; boundary=XX"
NAMED = 'Content-Disposition: form-data; name="job"'


@pytest.mark.parametrize(
    "head",
    [
        "Content-Disposition: form-data; name*",
        "Content-Disposition: form-data; name*=",
        "Content-Disposition: form-data; name*=a; name*0=b",
        f"Content-Disposition: form-data; name*{'9' * 5000}=a",
        "Content-Disposition: form-data",
        'Content-Disposition: attachment; name="job"',
        "Content-Type: text/plain",
        f"{NAMED}\r\nContent-Type: multipart/mixed; boundary=YY",
        f"{NAMED}\r\nContent-Transfer-Encoding: base64",
        f"{NAMED}\r\nX: {'x' * 17_000}",
        f"\r\n{NAMED}",
    ],
)
def test_a_head_that_names_no_part_is_refused(head: str) -> None:
    problem = refused(echo_scorer(JOB), part(head), KIND)
    assert (problem.status, problem.code) == (400, "malformed_form")


@pytest.mark.parametrize(
    "body",
    [
        b"--XX\r\n\r\n\r\n" * 2_000_000,
        b"--XX\r\n" * 2_000_000,
        b"--XX" + b"\t" * 5_000_000,
        b"\r\n" * 5_000_000,
        part(f"{NAMED}{'; a=b' * 1_000_000}"),
        part(f"{NAMED}\r\nX: {'x' * 15_000}", times=2_000),
        part(NAMED, times=1_000_000),
        part(f'{NAMED}; x="{";" * 16_000}', times=120),
        part(f"{NAMED}\r\n" + "\r\n ".join(["a: b"] * 1_000_000)),
    ],
)
def test_a_form_of_too_much_is_soon_refused(body: bytes) -> None:
    with soon():
        problem = refused(echo_scorer(JOB), body, KIND)
    assert (problem.status, problem.code) == (400, "malformed_form")


@pytest.mark.parametrize("options", ["", "; boundary", "; boundary=", "; boundary*=a;boundary*0=b", "; boundary*=''XX"])
def test_a_form_without_a_boundary_is_refused(options: str) -> None:
    problem = refused(echo_scorer(JOB), part(NAMED), f"multipart/form-data{options}")
    assert (problem.status, problem.code) == (400, "malformed_form")


@pytest.mark.parametrize(
    "body",
    [
        part(f"{NAMED}\r\nContent-Type: message/rfc822", b"Content-Type: message/rfc822\r\n\r\n" * 2000),
        part(f"{NAMED}; filename*=utf-8''gr%C3%B6%C3%9Fe\r\nContent-Type: text/plain; x*", b"a\r\n--XXX\r\n--X"),
        b"a preamble\r\n" + part("content-disposition:form-data;\r\n name=job") + b"an epilogue\r\n--XX\r\n",
        part(NAMED).replace(b"--XX\r\n", b"--XX \t\r\n"),
    ],
)
def test_a_form_that_is_only_odd_is_read(body: bytes) -> None:
    assert "job" in json.loads(send(echo_scorer(JOB), body, KIND).body)["outputs"]


def test_a_part_that_is_bad_json_is_named() -> None:
    problem = refused(echo_scorer(JOB), part(f"{NAMED}\r\nContent-Type: application/json", b"{"), KIND)
    assert (problem.status, problem.errors[0].pointer) == (422, "/inputs/job")
    assert "the part is not JSON" in problem.errors[0].detail


# ---- CSV


@pytest.mark.parametrize(
    "options",
    [
        "charset*=utf-8''utf-8", "header*=utf-8''absent", "charset*=a;charset*0=b", "charset=undefined",
        "charset=idna", "charset=utf-7", "charset=unicode_escape", "charset=punycode", "charset=rot13",
        "charset=mbcs", "charset=", "charset=\u00df", f"charset*{'9' * 5000}=a",
    ],
)  # fmt: skip
def test_csv_of_an_odd_type_is_refused(options: str) -> None:
    problem = refused(echo_scorer(JOB), "job\na\n", f"text/csv; {options}")
    assert (problem.status, problem.code) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "charset", ["UTF-8", "utf-8-sig", "iso-8859-15", "windows-1252", "CP1252", "utf-16", "Latin-1"]
)
def test_csv_of_a_common_charset_is_read(charset: str) -> None:
    body = "job\nBäcker\n".encode(charset)
    assert text(send(echo_scorer(JOB), body, f'text/csv; charset="{charset}"')) == "job\r\nBäcker\r\n"


def test_a_wide_table_without_names_is_soon_read() -> None:
    width = 30_000
    scorer = echo_scorer(InputField("x", "FP32", (-1, width)))
    header = ",".join(f"c{number}" for number in range(width))
    with soon():
        answer = send(scorer, f"{header}\n{'1,' * (width - 1)}1\n", accept="application/json")
        assert refused(scorer, f"{header.rpartition(',')[0]},c0\n{'1,' * (width - 1)}1\n").status == 422
    assert parse(answer.body)["outputs"]["data"] == [[[1] * width]]  # type: ignore[index]


@pytest.mark.parametrize("body", ['"' * 5_000_000, "\n" * 500_000, "job\n" + "a," * 1_000_000, "a\n" * 500_000])
def test_csv_of_too_much_of_one_thing_is_soon_refused(body: str) -> None:
    with soon():
        assert refused(echo_scorer(JOB), body).status in (400, 422)
