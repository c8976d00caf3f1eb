"""Predictions: what a submission may say (API.md section 4); how one is shown is in `state.documents`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from api.schemas.base import Body
from core.errors import FieldProblem, InvalidField, Json

Records = dict[str, Any] | list[Any]
# Replicate's words; of these `start` and `completed` happen here.
WebhookEvent = Literal["start", "output", "logs", "completed"]
SPELLINGS = ("inputs", "input", "columns", "data", "tensors")


class PredictionInput(Body):
    """One of three spellings of the input: `inputs` (or its alias `input`), `columns` with `data`, or `tensors`."""

    inputs: Records | None = Field(None, description="One record, or a list of them.")
    input: Records | None = Field(None, description="The same, as Replicate calls it.")
    columns: list[str] | None = Field(None, fail_fast=True)
    data: list[Any] | None = None
    tensors: dict[str, Any] | None = None


class PredictionCreate(PredictionInput):
    """A durable prediction: its input, and where it is told how it ends."""

    webhook: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    webhook_events_filter: list[WebhookEvent] | None = Field(None, fail_fast=True, max_length=100)


class PredictionShown(BaseModel):
    """The prediction object, in the vocabulary of Replicate's HTTP API. `input` is null where it is a large one."""

    id: str
    status: Literal["starting", "processing", "succeeded", "failed", "canceled"]
    input: Any
    output: Any
    error: str | None
    problem: dict[str, Any] | None
    metrics: dict[str, float]
    created_at: str
    started_at: str | None
    completed_at: str | None
    urls: dict[str, str]
    service: str
    model: str
    version: str
    logs: str
    webhook: str | None
    webhook_events_filter: list[str] | None


class PredictionPage(BaseModel):
    """One page of predictions; `next` is its URL (the one list without `items`)."""

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
