"""One `/predict` request: the body read by its content type, answered, and told in the type that the client accepts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from serving.answer_table import NamedColumn, rows_of
from serving.answers import Record
from serving.arrow.open import write_stream
from serving.csv_text import csv_of
from serving.engines.base import Columns
from serving.heads import is_other_content, is_plain, keeps_going, may_be_fields, refuse_tensors
from serving.json_text import plain
from serving.media import ARROW, CSV, LINES, Kind, is_arrow, kind_of, may_want_other, preferred
from serving.messages import Request, Response
from serving.problems import Problem
from serving.reading import Reading
from serving.score import Scorer
from serving.spellings import Asked, read_body
from serving.statistics import now
from serving.validate import Form, Question, Validator

CSV_ANSWER = f"{CSV}; charset=utf-8; header=present"
# Bad records whose unknown names are compared with the known, which takes 200 ms for each where both are many.
MOST_HINTED = 10
# Bad records that are told one by one, at 0.2 ms each: a body of nothing else would keep a processor for an hour.
MOST_FAULTS = 5_000
# What the records of one request may get wrong, as against what is wrong with all of it.
OF_A_RECORD = ("invalid_input", "prediction_refused", "prediction_failed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is told: the form, an answer per record (`None` where it has none), and what was wrong with those."""

    form: Form
    records: Sequence[Record | None]
    faults: Sequence[Mapping[str, object]] = ()


@dataclass(frozen=True, slots=True)
class Relay:
    """An Arrow stream of which nothing needs to be looked at: the model's inputs over its memory."""

    columns: Columns
    count: int

    def tell(self, scorer: Scorer, outputs: Columns) -> Response:
        """The engine's answer to it as an Arrow stream. Raises `Problem`."""
        count = self.count
        told = scorer.stencils.filled(outputs, count)
        if told is None:
            write = partial(write_stream, about=scorer.about)
            told = write(scorer.columns_from(outputs, count))
            scorer.stencils.learn(outputs, count, scorer.columns_from, write)
        return Response(200, told, ARROW)


def relay_of(scorer: Scorer, request: Request) -> Relay | None:
    """What an Arrow stream asks that is laid out like an earlier one, where that can be told at a glance."""
    headers = request.headers
    if not is_arrow(headers) or b"content-encoding" in headers or b"accept-encoding" in headers:
        return None
    found = None if b"?" in request.target else scorer.validator.layouts.inputs(request.body)
    return None if found is None else Relay(*found)


def answer(scorer: Scorer, request: Request) -> Response:
    """Answer a request for a prediction: the plainest first. Raises `Problem`."""
    headers, has_query = request.headers, b"?" in request.target
    if not has_query and is_plain(headers):
        return Response(200, scorer.predict(request.body))
    begun = now()
    response = relayed(scorer, request.body) if not has_query and is_arrow(headers) else None
    if response is None:
        goes_on = keeps_going(request.target) if has_query else False
        may_be_other = is_other_content(headers) or may_be_fields(request)
        if not goes_on and not may_want_other(headers.get(b"accept", b"")) and not may_be_other:
            return Response(200, scorer.predict(request.body))
        refuse_tensors(headers)
        response = predict(scorer, request.body, headers, keeps_going=goes_on)
    scorer.statistics.answered_whole(begun)
    return response


def reading(scorer: Scorer, request: Request) -> Reading | None:
    """What a prediction in plain JSON asks, in one call of the engine; `None` for any other. Raises `Problem`."""
    if not is_plain(request.headers, may_be_coded=True):
        return None
    begun = now()
    question, parsed = scorer.question(request.body)
    validated = now()
    if len(question.calls) != 1:
        return None

    def tell(outputs: Columns) -> Response:
        computed = now()
        told = scorer.told(question, [outputs])
        scorer.statistics.answered(begun, parsed, validated, computed)
        return Response(200, told)

    return Reading(scorer, question.calls[0], tell)


def predict(scorer: Scorer, body: bytes, headers: Mapping[bytes, bytes], *, keeps_going: bool) -> Response:
    """Answer a prediction; `keeps_going` answers the other records where some are bad. Raises `Problem`."""
    content_type = headers.get(b"content-type", b"")
    told_in = preferred(headers.get(b"accept", b""), kind_of(content_type))
    asked = read_body(scorer.validator, body, content_type)
    if told_in == "json" and (not keeps_going or asked.check is None):
        return Response(200, scorer.in_json(scorer.answer(asked.whole())))
    question: Question | None = None
    try:
        question = asked.whole()
        if told_in == "csv" or told_in == "arrow":
            return _in_columns(scorer, _columns(scorer, question), told_in)
        outcome = Outcome(question.form, _records(scorer, question))
    except Problem as problem:
        if not keeps_going or asked.check is None or not _is_of_records(problem, asked.prefix):
            raise
        outcome = _answer_others(scorer, asked)
    if told_in == "lines":
        return Response(200, _in_lines(outcome), LINES[0])
    if told_in == "json":
        return Response(200, scorer.in_json(_outputs(scorer, outcome), outcome.faults))
    return _in_columns(scorer, _with_faults(scorer, outcome), told_in)


def relayed(scorer: Scorer, body: bytes) -> Response | None:
    """Arrow for an Arrow stream that is laid out like an earlier one, where no step needs to look at a value; else
    `None`. Raises `Problem`.

    `predict` answers the same. Behind an engine that has just filled the caches each step that is left out counts.
    """
    found = scorer.validator.layouts.inputs(body)
    return None if found is None else Relay(*found).tell(scorer, scorer.run(found[0]))


def read(scorer: Scorer, body: bytes, headers: Mapping[bytes, bytes]) -> Response:
    """Rows or a form in JSON, for who keeps what was asked. Raises `Problem`."""
    asked = read_body(scorer.validator, body, headers.get(b"content-type", b""))
    return Response(200, body if asked.in_json is None else msgspec.json.encode(asked.in_json(), enc_hook=plain))


def _columns(scorer: Scorer, question: Question) -> list[NamedColumn]:
    return scorer.columns(_of_records(question))


def _records(scorer: Scorer, question: Question) -> list[Record]:
    return scorer.records(_of_records(question))


def _of_records(question: Question) -> Question:
    if question.form == "tensors":
        hint = "accept application/json"
        raise Problem(406, "not_acceptable", "whole tensors have no records to tell in rows or lines", hint=hint)
    return question


def _answer_others(scorer: Scorer, asked: Asked) -> Outcome:
    """Each record by itself, so that a bad one spoils no other; those that pass the check are run together."""
    assert asked.check is not None
    by = scorer.validator
    faults: dict[int, Problem] = {}
    good = _sift(asked, by, range(asked.count), faults)
    if len(faults) >= MOST_HINTED:
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
                _note(faults, index, problem, asked.prefix)
    told = [_fault(index, faults[index], asked.prefix) for index in sorted(faults)]
    return Outcome(asked.form, [answers.get(index) for index in range(asked.count)], told)


def _sift(asked: Asked, by: Validator, some: Sequence[int], faults: dict[int, Problem]) -> list[int]:
    """The records that pass the check, found by halves as few are bad where there are many; `faults` gets the rest."""
    assert asked.check is not None
    try:
        asked.check(by if len(some) == 1 and len(faults) < MOST_HINTED else by.quiet(), some)
        return list(some)
    except Problem as problem:
        if len(some) == 1:
            _note(faults, some[0], problem, asked.prefix)
            return []
    half = len(some) // 2
    return _sift(asked, by, some[:half], faults) + _sift(asked, by, some[half:], faults)


def _note(faults: dict[int, Problem], index: int, problem: Problem, prefix: str) -> None:
    """One more bad record. Raises `Problem` 422 for the whole where there are too many."""
    faults[index] = problem
    if len(faults) > MOST_FAULTS:
        first = min(faults)
        told = _fault(first, faults[first], prefix)["detail"]
        hint = "send fewer records at a time, or none that are bad"
        raise Problem(422, "invalid_input", f"more than {MOST_FAULTS} records are bad; {told}", hint=hint)


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
    columns = scorer.columns_of(outcome.records)
    return {"columns": [column.name for column in columns], "data": rows_of(columns) or [()] * len(outcome.records)}


def _with_faults(scorer: Scorer, outcome: Outcome) -> list[NamedColumn]:
    """Rows in the order of the records; a column `error` where some could not be answered."""
    columns = scorer.columns_of(outcome.records)
    told = {fault["index"]: fault["detail"] for fault in outcome.faults}
    return [*columns, NamedColumn("error", [told.get(index) for index in range(len(outcome.records))])]


def _in_columns(scorer: Scorer, columns: Sequence[NamedColumn], told_in: Kind) -> Response:
    if told_in == "arrow":
        return Response(200, write_stream(columns, scorer.about), ARROW)
    return Response(200, csv_of([column.name for column in columns], rows_of(columns)), CSV_ANSWER)


def _in_lines(outcome: Outcome) -> bytes:
    """An answer in each line, or what was wrong with the record that has none."""
    told = {fault["index"]: {"error": fault} for fault in outcome.faults}
    lines = [told.get(index, record) for index, record in enumerate(outcome.records)]
    return msgspec.json.Encoder(enc_hook=plain).encode_lines(lines)
