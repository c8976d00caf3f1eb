"""Predictions: what a submission may say (API.md section 4); how one is shown is in `state.documents`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from pydantic.config import JsonDict

from api.schemas.base import Answer, Body, Instant, shown_as
from core.errors import FieldProblem, InvalidField, Json

Records = dict[str, Any] | list[Any]
# Replicate's words; of these `start` and `completed` happen here.
WebhookEvent = Literal["start", "output", "logs", "completed"]
OnError = Literal["fail", "record"]
PartKey = Annotated[str, Field(min_length=1, max_length=48)]
WebhookUrl = Annotated[str, Field(min_length=1, max_length=2000)]
FLOWER: Final[JsonDict] = {"float_input": [5.1, 3.5, 1.4, 0.2]}
SPELLINGS = ("inputs", "input", "columns", "data", "tensors")


class ImmediateInput(Body):
    """One of three spellings of the input: `inputs`, `columns` with `data`, or `tensors`."""

    model_config = shown_as(
        {"inputs": FLOWER},
        {"inputs": [{"age": 42, "job": "clerk"}, {"age": 35, "job": "driver"}]},
        {"columns": ["age", "job"], "data": [[42, "clerk"], [35, "driver"]]},
        {"tensors": {"float_input": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]}},
    )

    inputs: Records | None = Field(None, description="One record, or a list of them.")
    columns: list[str] | None = Field(None, fail_fast=True)
    data: list[Any] | None = None
    tensors: dict[str, Any] | None = None


class PredictionInput(ImmediateInput):
    """The same; `inputs` may also be called `input`."""

    input: Records | None = Field(None, description="The same, as Replicate calls it.")


class PredictionCreate(PredictionInput):
    """A durable prediction: its input, and where it is told how it ends."""

    model_config = shown_as(
        {"inputs": FLOWER},
        {"inputs": FLOWER, "webhook": "https://example.com/hook", "webhook_events_filter": ["completed"]},
        {"inputs": FLOWER, "part": "fr"},
    )

    part: PartKey | None = Field(None, description="The part of the version that is asked, instead of its default one.")
    webhook: WebhookUrl | None = None
    webhook_events_filter: list[WebhookEvent] | None = Field(None, fail_fast=True, max_length=100)
    webhook_completed: WebhookUrl | None = Field(None, description="Replicate's older word: a webhook for the end.")
    stream: bool | None = Field(None, description="Replicate's word; without effect: every prediction can be streamed.")


class PredictionOfService(PredictionCreate):
    """The same with the service among the fields, where Replicate's clients name it."""

    model_config = shown_as({"version": "iris", "input": FLOWER})

    version: str = Field(min_length=1, max_length=200, description="The name of the service.")


class BadRecord(Answer):
    """Why one record has no answer: its index in the request, and a problem's code, sentence and fields."""

    index: int
    code: str
    detail: str
    errors: list[dict[str, str]] | None = None


class PredictionAnswer(Answer):
    """What a service answers at once: `outputs` in the form of the input, and by which version of which model.

    `errors` is there with `?on_error=record` only, where records are bad; their outputs are null.
    """

    outputs: Any
    errors: list[BadRecord] | None = None
    model: str
    version: str
    service: str
    part: str | None = Field(None, description="Which part answered, where the version has several.")

    model_config = shown_as(
        {
            "outputs": {"label": "setosa", "probabilities": {"setosa": 0.97, "versicolor": 0.03, "virginica": 0.0}},
            "model": "iris",
            "version": "1",
            "service": "iris",
        }
    )


class PredictionShown(Answer):
    """The prediction object, in the vocabulary of Replicate's HTTP API.

    `input` is the one record; for a batch, a table or tensors an object that says which; null where it is a large one.
    CSV is shown as a table and a form as its record, as soon as the model server has read them. With `?on_error=record`
    the `output` has `outputs`, null for bad records, and `errors`, which tells these.
    """

    id: str
    status: Literal["starting", "processing", "succeeded", "failed", "canceled"]
    input: dict[str, Any] | None
    output: Any
    error: str | None
    problem: dict[str, Any] | None
    metrics: dict[str, float]
    created_at: Instant
    started_at: Instant | None
    completed_at: Instant | None
    urls: dict[str, str]
    service: str
    model: str
    version: str
    part: str | None
    logs: str
    webhook: str | None
    webhook_events_filter: list[str] | None


class PredictionPage(Answer):
    """One page of predictions; `next` and `previous` are URLs of the pages around it."""

    results: list[PredictionShown]
    next: str | None
    previous: str | None
    total: int | None = None


def read_input(body: PredictionInput) -> dict[str, Json]:
    """What is sent to the model: the spelling that was used, `input` under its real name. Raises `InvalidField`."""
    given = {name: getattr(body, name) for name in SPELLINGS if name in body.model_fields_set}
    fault = _fault(given)
    if fault is not None:
        raise InvalidField(f"{fault.detail}; {fault.hint}", fields=[fault])
    return {"inputs" if name == "input" else name: value for name, value in given.items()}


@dataclass(frozen=True, slots=True)
class Hook:
    """Where a prediction's own webhook goes, of what it tells, and which field said so."""

    url: str
    events: Sequence[str] | None
    pointer: str


def read_webhook(body: PredictionCreate) -> Hook | None:
    """The prediction's own webhook, under either name. Raises `InvalidField` where both are used."""
    if body.webhook_completed is None:
        return None if body.webhook is None else Hook(body.webhook, body.webhook_events_filter, "/webhook")
    for name in ("webhook", "webhook_events_filter"):
        if getattr(body, name) is not None:
            detail = f"'webhook_completed' and '{name}' exclude each other"
            hint = "send 'webhook' with 'webhook_events_filter': [\"completed\"]"
            raise InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/webhook_completed", detail, hint)])
    return Hook(body.webhook_completed, ["completed"], "/webhook_completed")


def _fault(given: dict[str, Json]) -> FieldProblem | None:
    ways = "send 'inputs', or 'columns' with 'data', or 'tensors'"
    if not given:
        return FieldProblem("/inputs", "the body has no input", ways)
    empty = next((name for name, value in given.items() if value is None), None)
    if empty is not None:
        return FieldProblem(f"/{empty}", f"'{empty}' is null", ways)
    for name, other in (("columns", "data"), ("data", "columns")):
        if name in given and other not in given:
            return FieldProblem(f"/{other}", f"'{name}' came without '{other}'", ways)
    spellings = [name for name in given if name != "data"]
    if len(spellings) > 1:
        return FieldProblem(f"/{spellings[1]}", f"'{spellings[0]}' and '{spellings[1]}' exclude each other", ways)
    return None
