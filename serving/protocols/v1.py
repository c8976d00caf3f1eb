"""KServe's V1 protocol, which is TensorFlow Serving's REST API: list, status, predict.

Its "model" is Portside's service. What it answers are the engine's own outputs, as on /v2. Every client mistake is a
4xx with `{"error": "<string>"}`. A list in `inputs` is what KServe reads as `instances`, an object is TensorFlow's
columnar form, which is answered in columns, too.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.elements import describe_value
from serving.engines.base import Columns
from serving.json_text import parse, plain
from serving.messages import Request, Response
from serving.problems import FieldError, Problem, shorten
from serving.reading import Reading
from serving.score import Identity, Scorer, indistinct
from serving.statistics import now
from serving.validate import Question

Handlers = Mapping[bytes, Callable[[Request], Response]]
IGNORED: Final = ("signature_name", "parameters")  # what clients of other servers add
EXAMPLE: Final = 'send {"instances": [{"age": 42}]}, or [[…]] where the model has one input'


class V1Model:
    """Answers the protocol for one scorer. Thread-safe."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer, self._signature = scorer, scorer.signature

    def predict(self, body: bytes) -> bytes:
        """The response to a predict request. Raises `Problem`, to be told as `{"error": …}`."""
        calls, tell = self._asked(body)
        return tell([self._scorer.run(columns) for columns in calls])

    def read(self, body: bytes) -> Reading | None:
        """What a predict request asks the engine, where that is one call. Raises `Problem`."""
        calls, tell = self._asked(body)
        if len(calls) != 1:
            return None
        return Reading(self._scorer, calls[0], lambda outputs: Response(200, tell([outputs])))

    def _asked(self, body: bytes) -> tuple[Sequence[Columns], Callable[[Sequence[Columns]], bytes]]:
        """The calls of the engine, and what makes the response of what it answers to them. Raises `Problem`."""
        begun = now()
        request, parsed = parse(body), now()
        if not isinstance(request, dict):
            raise _mistake(f"the body is {describe_value(request)}; it must be an object", EXAMPLE)
        given = [name for name in request if name not in IGNORED]
        if given not in (["instances"], ["inputs"]):
            told = ", ".join(repr(name[:80]) for name in given[:10]) or "neither"
            raise _mistake(f"the body must have either 'instances' or 'inputs'; it has {told}", EXAMPLE)
        value = request[given[0]]
        is_columnar = given == ["inputs"] and isinstance(value, dict)
        question = self._tensors(value) if is_columnar else self._records(value, given[0])
        validated = now()

        def tell(outputs: Sequence[Columns]) -> bytes:
            computed = now()
            told = _in_columns(outputs[0]) if is_columnar else self._each(question, outputs)
            encoded = msgspec.json.encode({"outputs" if is_columnar else "predictions": told}, enc_hook=plain)
            self._scorer.statistics.answered(begun, parsed, validated, computed)
            return encoded

        return question.calls, tell

    def _records(self, instances: object, called: str) -> Question:
        if not isinstance(instances, list):
            raise _mistake(f"'{called}' is {describe_value(instances)}; it must be a list", EXAMPLE)
        records = [self._record(instance) for instance in instances]
        try:
            return self._scorer.validator.question({"inputs": records})
        except Problem as problem:
            raise _renamed(problem, "/inputs", f"/{called}") from problem

    def _record(self, instance: object) -> object:
        """An instance as a record: the value itself stands for the only input."""
        inputs = self._signature.inputs
        is_file = isinstance(instance, dict) and instance.keys() == {"b64"} and inputs[0].name != "b64"
        if len(inputs) == 1 and (is_file or not isinstance(instance, dict)):
            return {inputs[0].name: _file(instance)}
        if isinstance(instance, dict):
            return {name: _file(value) for name, value in instance.items()}
        return instance

    def _each(self, question: Question, outputs: Sequence[Columns]) -> list[object]:
        """A prediction per instance."""
        count = question.records if len(question.calls) == 1 else 1
        return [found for columns in outputs for found in self._split(columns, count)]

    def _split(self, outputs: Columns, count: int) -> list[object]:
        """A prediction per instance: the value of the only output, else an object of all."""
        columns = {name: self._values(column, count, outputs) for name, column in outputs.items()}
        if len(columns) == 1:
            return next(iter(columns.values()))
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _values(self, column: NDArray[np.generic], count: int, outputs: Columns) -> list[object]:
        if self._signature.batch == "none":
            return [column.tolist()] * count
        if not column.ndim or column.shape[0] != count:
            raise indistinct(outputs, count)
        return cast("list[object]", column.tolist())

    def _tensors(self, tensors: Mapping[str, object]) -> Question:
        try:
            return self._scorer.validator.question({"tensors": {name: _file(each) for name, each in tensors.items()}})
        except Problem as problem:
            raise _renamed(problem, "/tensors", "/inputs") from problem


def handlers(
    identity: Identity,
    version: str,
    scorer: Callable[[], Scorer],
    is_ready: Callable[[], bool],
    check: Callable[[Request], None],
    *,
    is_default: bool,
) -> dict[str, Handlers]:
    """What answers each path; a model's own are without a version, too. `check` refuses bodies that are no JSON."""

    def listed(request: Request) -> Response:
        return Response(200, msgspec.json.encode({"models": [identity.name]}))

    def status(request: Request) -> Response:
        body = msgspec.json.encode({"name": identity.name, "ready": is_ready()})
        return Response(200 if is_ready() else 503, body)

    def predict(request: Request) -> Response:
        check(request)
        return Response(200, V1Model(scorer()).predict(request.body))

    def explain(request: Request) -> Response:
        hint = f"predictions go to /v1/models/{identity.name}:predict"
        raise Problem(404, "not_found", "no model here has an explainer", hint=hint)

    model = f"/v1/models/{identity.name}"
    found: dict[str, Handlers] = {"/v1/models": {b"GET": listed}} if is_default else {}
    for path in (model, f"{model}/versions/{version}") if is_default else (f"{model}/versions/{version}",):
        found[path] = {b"GET": status}
        found[f"{path}:predict"] = {b"POST": predict}
        found[f"{path}:explain"] = {b"POST": explain}
    return found


def unrouted(path: str, name: str) -> Problem:
    """What is told of a path below /v1 that nothing answers."""
    asked = path.removeprefix("/v1/models/").partition("/")[0].partition(":")[0]
    if path.startswith("/v1/models/") and asked != name:
        return Problem(404, "not_found", f"Model with name {shorten(asked, 200)} does not exist.")
    hint = f"predictions go to POST /v1/models/{name}:predict"
    return Problem(404, "not_found", f"there is nothing at {path[:200]}", hint=hint)


def _in_columns(outputs: Columns) -> object:
    """The value of the only output, else an object of all."""
    columns = {name: column.tolist() for name, column in outputs.items()}
    return next(iter(columns.values())) if len(columns) == 1 else columns


def _file(value: object) -> object:
    """The protocol's own way to write bytes, as ours."""
    return {"$base64": value["b64"]} if isinstance(value, dict) and value.keys() == {"b64"} else value


def _renamed(problem: Problem, ours: str, theirs: str) -> Problem:
    """A problem whose pointers begin as the body does."""
    errors = [
        FieldError(theirs + error.pointer.removeprefix(ours), error.detail, error.hint) for error in problem.errors
    ]
    detail = theirs + problem.detail.removeprefix(ours) if problem.detail.startswith(ours) else problem.detail
    return Problem(problem.status, problem.code, detail, hint=problem.hint, errors=errors)


def _mistake(detail: str, hint: str) -> Problem:
    return Problem(400, "invalid_input", detail, hint=hint)
