"""From pydantic's complaints to field problems: a JSON pointer, a sentence, and the nearest name we know."""

from collections.abc import Iterable, Sequence
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from api.nearest import hint
from core.errors import FieldProblem, InvalidField, MalformedBody, Rejected, UnknownField

PARTS = frozenset({"body", "query", "path", "header", "cookie"})
UNKNOWN = "extra_forbidden"
TAG = "kind="  # begins what pydantic puts into a place to say which of several bodies it has taken
Read = TypeVar("Read", bound=BaseModel)
NO_OBJECT = frozenset({"missing", "model_attributes_type", "model_type", "dict_type"})


def rejection(errors: Sequence[ErrorDetails], body_model: type[BaseModel] | None) -> Rejected:
    """The one error that tells everything that is wrong with a request."""
    if any(error["type"] == "json_invalid" for error in errors):
        return MalformedBody(f"the body is not JSON: {errors[0].get('ctx', {}).get('error', 'it cannot be read')}")
    problems = [_problem(error, body_model) for error in errors[:50]]
    names = ", ".join(f"'{problem.pointer}'" for problem in problems[:5] if problem.pointer)
    if all(error["type"] == UNKNOWN for error in errors):
        return UnknownField(f"the request has fields that do not exist: {names}", fields=problems)
    where = f"; see {names}" if names else ""
    return InvalidField(f"the request cannot be used as it is{where}: {problems[0].detail}", fields=problems)


def read_body(document: object, body_model: type[Read]) -> Read:
    """A JSON document as this body. Raises `UnknownField`, `InvalidField`."""
    try:
        return body_model.model_validate(document)
    except ValidationError as error:
        raise rejection(error.errors(include_url=False), body_model) from error


def _problem(error: ErrorDetails, body_model: type[BaseModel] | None) -> FieldProblem:
    location = [step for step in error["loc"] if not (isinstance(step, str) and step.startswith(TAG))]
    part = str(location[0]) if location and location[0] in PARTS else ""
    path = location[1:] if part else location
    pointer = "".join(f"/{escaped(str(step)[:100])}" for step in path)
    if error["type"] == UNKNOWN:
        known = _known(body_model, path[:-1]) if body_model is not None else ()
        return FieldProblem(pointer, f"there is no field '{str(path[-1])[:100]}' here", hint(str(path[-1]), known))
    if part == "body" and not path:
        # Otherwise it is an object, and breaks a rule of ours about the whole of it.
        how = "send a JSON object with Content-Type: application/json" if error["type"] in NO_OBJECT else ""
        return FieldProblem("", _sentence(error), how)
    where = f"{part} parameter '{path[0]}': " if part in ("query", "path", "header") and path else ""
    return FieldProblem(pointer, where + _sentence(error))


def _sentence(error: ErrorDetails) -> str:
    if error["type"] == "missing":
        return "this field is required"
    if error["type"] == "too_short":
        return f"at least {error['ctx']['min_length']} is needed here, not {error['ctx']['actual_length']}"
    message = str(error["msg"])
    return message[0].lower() + message[1:]


def _known(model: type[BaseModel], path: Iterable[str | int]) -> Iterable[str]:
    """The field names of the object at `path` inside `model`, as far as the annotations tell."""
    here: type[BaseModel] | None = model
    for step in path:
        if here is not None and step in here.model_fields:
            here = model_in(here.model_fields[str(step)].annotation)
    return [field.alias or name for name, field in here.model_fields.items()] if here is not None else ()


def model_in(annotation: object) -> type[BaseModel] | None:
    """The pydantic class that an annotation is, or has as its first part."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := model_in(part)) is not None), None)


def escaped(step: str) -> str:
    """One step of an RFC 6901 pointer."""
    return step.replace("~", "~0").replace("/", "~1")
