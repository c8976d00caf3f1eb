"""One `/predict` request: the body read by its content type, answered, and told in the type that the client accepts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from serving.answers import Record
from serving.csv_text import CSV, TYPES, csv_of
from serving.json_text import plain
from serving.messages import Response
from serving.problems import Problem
from serving.score import Scorer
from serving.spellings import Asked, read_body
from serving.validate import Form, Question

CSV_ANSWER = f"{CSV}; charset=utf-8; header=present"
# Bad records whose unknown names are compared with the known, which takes 200 ms for each where both are many.
MOST_HINTED = 10
# What the records of one request may get wrong, as against what is wrong with all of it.
OF_A_RECORD = ("invalid_input", "prediction_refused", "prediction_failed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is told: the form, an answer per record (`None` where it has none), and what was wrong with those."""

    form: Form
    records: Sequence[Record | None]
    faults: Sequence[Mapping[str, object]] = ()


def predict(scorer: Scorer, body: bytes, headers: Mapping[bytes, bytes], *, keeps_going: bool) -> Response:
    """Answer a prediction; `keeps_going` answers the other records where some are bad. Raises `Problem`."""
    content_type = headers.get(b"content-type", b"")
    in_csv = tells_csv(headers.get(b"accept", b""), is_asked_in_csv=content_type.lower().startswith(tuple(
        kind.encode() for kind in TYPES
    )))  # fmt: skip
    asked = read_body(scorer.validator, body, content_type)
    if not in_csv and (not keeps_going or asked.check is None):
        return Response(200, scorer.in_json(scorer.answer(asked.whole())))
    outcome = _outcome(scorer, asked, keeps_going=keeps_going)
    if in_csv:
        return Response(200, _in_csv(scorer, outcome), CSV_ANSWER)
    return Response(200, scorer.in_json(_outputs(scorer, outcome), outcome.faults))


def read(scorer: Scorer, body: bytes, headers: Mapping[bytes, bytes]) -> Response:
    """Rows or a form in JSON, for who keeps what was asked. Raises `Problem`."""
    asked = read_body(scorer.validator, body, headers.get(b"content-type", b""))
    return Response(200, body if asked.in_json is None else msgspec.json.encode(asked.in_json(), enc_hook=plain))


def tells_csv(accept: bytes, *, is_asked_in_csv: bool) -> bool:
    """Whether the client would rather have CSV than JSON (RFC 9110, 12.5.1); who takes both gets what it sent."""
    wishes = {"text/csv": -1.0, "application/json": -1.0, "*/*": -1.0}
    for part in accept.decode("latin-1").lower().split(","):
        kind, *options = (piece.strip() for piece in part.split(";"))
        if kind in wishes:
            wishes[kind] = max([wishes[kind], *map(_quality, options)]) if options else 1.0
    csv, json = (wishes[kind] if wishes[kind] >= 0 else wishes["*/*"] for kind in ("text/csv", "application/json"))
    return is_asked_in_csv if csv == json else csv > json


def _quality(option: str) -> float:
    name, _, value = option.partition("=")
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 1.0


def _outcome(scorer: Scorer, asked: Asked, *, keeps_going: bool) -> Outcome:
    try:
        return _whole(scorer, asked.whole())
    except Problem as problem:
        if not keeps_going or asked.check is None or not _is_of_records(problem, asked.prefix):
            raise
    return _answer_others(scorer, asked)


def _whole(scorer: Scorer, question: Question) -> Outcome:
    if question.form == "tensors":
        hint = "accept application/json"
        raise Problem(406, "not_acceptable", "whole tensors cannot be told in CSV", hint=hint)
    return Outcome(question.form, scorer.records(question))


def _answer_others(scorer: Scorer, asked: Asked) -> Outcome:
    """Each record by itself, so that a bad one spoils no other; those that pass the check are run together."""
    assert asked.check is not None
    by = scorer.validator
    faults: dict[int, Problem] = {}
    good: list[int] = []
    for index in range(asked.count):
        try:
            asked.check(by, [index])
            good.append(index)
        except Problem as problem:
            faults[index] = problem
            if len(faults) == MOST_HINTED:
                by = by.quiet()
    answers: dict[int, Record] = {}
    try:
        if good:
            answers = dict(zip(good, scorer.records(asked.check(by, good)), strict=True))
    except Problem:
        for index in good:
            try:
                (answers[index],) = scorer.records(asked.check(by, [index]))
            except Problem as problem:
                faults[index] = problem
    told = [_fault(index, faults[index], asked.prefix) for index in sorted(faults)]
    return Outcome(asked.form, [answers.get(index) for index in range(asked.count)], told)


def _fault(index: int, problem: Problem, prefix: str) -> dict[str, object]:
    """What is wrong with one record, its pointers into the whole body."""
    document = problem.as_json()
    errors = [
        {**error.as_json(), "pointer": error.pointer.replace(f"{prefix}/0", f"{prefix}/{index}", 1)}
        for error in problem.errors
    ]
    detail = problem.detail.replace(f"{prefix}/0", f"{prefix}/{index}", 1)
    return {"index": index, "code": document["code"], "detail": detail, **({"errors": errors} if errors else {})}


def _is_of_records(problem: Problem, prefix: str) -> bool:
    """Whether other records may be answered: a fault of the header or of the whole body is everybody's."""
    if problem.code not in OF_A_RECORD:
        return False
    return all(error.pointer.startswith(f"{prefix}/") for error in problem.errors)


def _outputs(scorer: Scorer, outcome: Outcome) -> object:
    if outcome.form != "table":
        return outcome.records[0] if outcome.form == "record" else outcome.records
    table = scorer.table([record for record in outcome.records if record is not None])
    columns, rows = _columns_and_rows(table)
    left = iter(rows)
    return {
        "columns": columns,
        "data": [[None] * len(columns) if record is None else next(left) for record in outcome.records],
    }


def _in_csv(scorer: Scorer, outcome: Outcome) -> bytes:
    """Rows in the order of the records; a column `error` where some could not be answered."""
    columns, rows = _columns_and_rows(scorer.table([record for record in outcome.records if record is not None]))
    if not outcome.faults:
        return csv_of(columns, rows)
    told = {fault["index"]: fault["detail"] for fault in outcome.faults}
    left = iter(rows)
    filled = [
        [*[None] * len(columns), told[index]] if record is None else [*next(left), None]
        for index, record in enumerate(outcome.records)
    ]
    return csv_of([*columns, "error"], filled)


def _columns_and_rows(table: Record) -> tuple[list[str], list[list[object]]]:
    columns, data = table["columns"], table["data"]
    assert isinstance(columns, list)
    assert isinstance(data, list)
    return columns, data
