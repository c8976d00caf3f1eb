"""One prediction from bytes to bytes in four named steps: parse, validate, run, encode.

This is the edge to the engines: whatever they raise for a checked input is the caller's 422, never a 500.
"""

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import get_ident

import msgspec

from serving.answer_table import AnswerTable, NamedColumn, joined, rows_of
from serving.answers import Answers, Record
from serving.batcher import Batcher, Plan
from serving.engines.base import Columns, LoadedModel, PredictionRefused
from serving.json_table import question_of
from serving.json_text import parse, plain
from serving.problems import Problem, shorten
from serving.signature import Signature
from serving.statistics import Statistics, now
from serving.stencils import Stencils
from serving.tickets import current
from serving.validate import Question, Validator

_NO_MEMORY = ("bad_alloc", "Failed to allocate memory", "OutOfMemoryError")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a server answers about itself: its name on the inference surfaces, and what the platform calls it.

    `part` is the key of one model among those of an archive.
    """

    name: str
    service: str
    model: str
    version: str
    replica: str = ""
    part: str = ""


class Scorer:
    """Answers predictions of one loaded model. Thread-safe."""

    def __init__(self, signature: Signature, model: LoadedModel, identity: Identity) -> None:
        self.signature, self.identity, self.validator = signature, identity, Validator(signature)
        self.execution_provider = model.execution_provider
        self.loaded, self._answers, self.statistics = model, Answers(signature), Statistics()
        self._counts_records = signature.batch == "stack"
        self.batcher: Batcher | None = None
        self.reads: Callable[[bytes], Columns | None] | None = None  # one plain record, by compiled code
        self._table, self.stencils = AnswerTable(signature, self._answers), Stencils()
        self._loop_thread = 0  # the one thread that must not wait for a turn
        about = {"model": identity.model, "version": identity.version, "service": identity.service}
        self.about = about | ({"part": identity.part} if identity.part else {})
        self.tail = b"," + msgspec.json.encode(self.about)[1:]
        self._encoder = msgspec.json.Encoder(enc_hook=plain)

    def batch(self, plan: Plan) -> Batcher:
        """Let threads ask the engine through a batcher of this plan, and count from now on."""
        if plan.max_records > 1:
            self.statistics.fold()  # what was tried: the first time takes 10 ms, for which nobody should wait later
        self.statistics.forget()
        self.batcher = Batcher(self._compute, plan, self.statistics)
        return self.batcher

    def renamed(self, signature: Signature) -> "Scorer":
        """The same model in memory, by a signature with other names for the places of its inputs."""
        return Scorer(signature, self.loaded, self.identity)

    def belongs_to_loop(self) -> None:
        """The thread that calls this runs the loop: what it asks the engine is answered at once."""
        self._loop_thread = get_ident()

    def predict(self, body: bytes) -> bytes:
        """The response body for a prediction body in JSON. Raises `Problem`."""
        begun = now()
        question, parsed = self.question(body)
        validated = now()
        is_at_once = len(question.calls) == 1 and (self.batcher is None or get_ident() == self._loop_thread)
        # The shortest way, for what is answered on the loop: one row of statistics, and no step in between.
        columns = [self._compute(question.calls[0])] if is_at_once else self._computed(question)
        computed = now()
        told = self.told(question, columns)
        if is_at_once:
            records = question.records if self._counts_records else 1
            self.statistics.answered_at_once(records, begun, parsed, validated, computed)
        else:
            self.statistics.answered(begun, parsed, validated, computed)
        return told

    def question(self, body: bytes) -> tuple[Question, int]:
        """What a prediction body in JSON asks, and when that was parsed, before it was checked. Raises `Problem`."""
        columns = None if self.reads is None else self.reads(body)
        if columns is not None:
            return Question("record", 1, (columns,)), now()
        question, parsed = question_of(self.validator, body), now()
        if question is None:
            value, parsed = parse(body), now()
            question = self.validator.question(value)
        return question, parsed

    def told(self, question: Question, columns: Sequence[Columns]) -> bytes:
        """The response body to a question of which the engine has answered each call. Raises `Problem`."""
        return self.in_json(self._told(question, columns))

    def count(self, columns: Columns) -> int:
        """How many records the engine is asked about."""
        return records_of(columns) if self._counts_records else 1

    def in_json(self, outputs: object, faults: Sequence[Mapping[str, object]] = ()) -> bytes:
        """The response body that tells these outputs, and what was wrong with the records that have none."""
        told = b',"errors":' + self._encoder.encode(faults) if faults else b""
        return b'{"outputs":' + self._encoder.encode(outputs) + told + self.tail

    def answer(self, question: Question) -> object:
        """The `outputs` of a checked question, in the form in which it was asked. Raises `Problem`."""
        return self._told(question, self._computed(question))

    def records(self, question: Question) -> list[Record]:
        """One answer per record of a checked question that is no tensors. Raises `Problem`."""
        return self._told_records(question, self._computed(question))

    def columns(self, question: Question) -> list[NamedColumn]:
        """The answers to a checked question that is no tensors, as columns. Raises `Problem`."""
        return self._told_columns(question, self._computed(question))

    def columns_from(self, outputs: Columns, count: int) -> list[NamedColumn]:
        """What the engine answered for so many records, as columns. Raises `Problem`."""
        try:
            return self._table.columns(outputs, count)
        except ValueError as error:
            raise indistinct(outputs, count) from error

    def columns_of(self, records: Sequence[Record | None]) -> list[NamedColumn]:
        """Answers that there are already, and the gaps between them, as columns."""
        return self._table.of_records(records)

    def run(self, columns: Columns) -> Columns:
        """Let the engine answer checked columns. Raises `Problem` 422 for whatever it refuses or fails at.

        A thread waits for its turn here, perhaps until others are answered with it; the loop does not.
        """
        records = self.count(columns)
        if self.batcher is not None and get_ident() != self._loop_thread:
            return self.batcher.compute(columns, records, current.get())
        begun = now()
        outputs = self._compute(columns)
        self.statistics.ran_alone(records, now() - begun)
        return outputs

    def _compute(self, columns: Columns) -> Columns:
        try:
            return self.loaded.predict(columns)
        except PredictionRefused as error:
            if is_out_of_memory(error):
                raise too_much() from error
            raise Problem(422, "prediction_refused", f"the model refuses this input: {error}") from error
        except MemoryError as error:
            raise too_much() from error
        except Exception as error:
            # The input matched the signature, so a reader of the log wants to know where the engine gave up.
            traceback.print_exc(file=sys.stderr)
            detail = f"the model failed at this input: {shorten(str(error) or type(error).__name__, 500)}"
            raise Problem(422, "prediction_failed", detail) from error

    def close(self) -> None:
        """Free the model."""
        self.loaded.close()

    def _computed(self, question: Question) -> list[Columns]:
        return [self.run(columns) for columns in question.calls]

    def _told(self, question: Question, outputs: Sequence[Columns]) -> object:
        """The answer in the form in which it was asked."""
        if question.form == "tensors":
            return {name: column.tolist() for name, column in outputs[0].items()}
        if question.form == "table":
            columns = self._told_columns(question, outputs)
            return {"columns": [column.name for column in columns], "data": rows_of(columns)}
        records = self._told_records(question, outputs)
        return records[0] if question.form == "record" else records

    def _told_columns(self, question: Question, outputs: Sequence[Columns]) -> list[NamedColumn]:
        each = question.records if len(question.calls) == 1 else 1
        return joined([self.columns_from(columns, each) for columns in outputs])

    def _told_records(self, question: Question, outputs: Sequence[Columns]) -> list[Record]:
        each = question.records if len(question.calls) == 1 else 1
        records: list[Record] = []
        for columns in outputs:
            records += self._records(columns, each)
        return records

    def _records(self, outputs: Columns, count: int) -> list[Record]:
        try:
            return self._answers.records(outputs, count)
        except ValueError as error:
            raise indistinct(outputs, count) from error


def indistinct(outputs: Columns, count: int) -> Problem:
    """The problem of a graph that reduces over its records or drops some: its answers belong to none of them."""
    shapes = ", ".join(f"{name} {list(column.shape)}" for name, column in outputs.items())
    detail = f"the model answered {shapes} to {count} record(s), which cannot be told apart by record"
    return Problem(422, "prediction_failed", detail, hint='ask with "tensors" for the raw outputs')


def records_of(columns: Columns) -> int:
    """How many records stacked columns have."""
    for column in columns.values():
        return len(column)
    return 1


def too_much() -> Problem:
    """The problem of a request that is larger than the memory."""
    detail = "this process' memory does not suffice for this request"
    return Problem(422, "memory_limit_exceeded", detail, hint="send fewer records at a time, or raise the limit")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what caused it, is a lack of memory, in Python's words or C++'s or Java's."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or any(word in str(seen) for word in _NO_MEMORY):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
