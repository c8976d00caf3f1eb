"""Asking a service: at once, or by a durable prediction."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from portside.deploying import open_source
from portside.errors import InvalidInput
from portside.messages import Document, Json, Query, Repeat, Request
from portside.requests import changing, encoded, path_to
from portside.session import Session
from portside.sources import ModelFile

OnError = Literal["fail", "record"]
SPELLINGS = "give inputs (a record or a list of them), or columns with data, or tensors"


def question(inputs: Json, columns: Json, data: Json, tensors: Json) -> Document:
    """The body of a prediction in the one spelling that was given. Raises `InvalidInput`."""
    given = {"inputs": inputs, "columns": columns, "data": data, "tensors": tensors}
    said = {name: value for name, value in given.items() if value is not None}
    if list(said) not in (["inputs"], ["columns", "data"], ["tensors"]):
        raise InvalidInput(f"This is no input ({', '.join(said) or 'nothing'}): {SPELLINGS}.")
    return said


async def predict(
    session: Session,
    service: str,
    body: Document,
    timeout_s: float | None,
    part: str | None = None,
    on_error: OnError = "fail",
) -> Json:
    """What the model answers, or its part, in the spelling that it was asked in.

    Sent again only where no platform has seen it, or where none could begin (503): it has no key that would make it
    happen once. Raises what `Session.send` raises.
    """
    request = _asking(service, part, on_error, {"content-type": "application/json"})
    request = replace(request, body=encoded(body), wants_document=True)
    answer = (await session.send(request, timeout_s)).document
    if on_error == "fail":
        return answer["outputs"]
    return {"outputs": answer["outputs"], "errors": answer.get("errors") or []}


async def predict_rows(
    session: Session,
    service: str,
    rows: ModelFile | bytes,
    timeout_s: float | None,
    part: str | None,
    on_error: OnError,
) -> str:
    """The same of a CSV file, as CSV. Raises `OSError`, `InvalidInput` and what `Session.send` raises."""
    source = open_source(io.BytesIO(rows) if isinstance(rows, bytes) else rows)
    headers = {"content-type": "text/csv", "accept": "text/csv", "content-length": str(source.size_bytes)}
    request = replace(_asking(service, part, on_error, headers), body=source)
    return (await session.send(request, timeout_s)).body.decode()


def _asking(service: str, part: str | None, on_error: OnError, headers: Mapping[str, str]) -> Request:
    path = path_to("services", service, *(() if part is None else ("parts", part)), "predict")
    return Request("POST", path, _wish(on_error), headers, repeat=Repeat.UNLESS_SENT)


def _wish(on_error: OnError) -> Query:
    return {} if on_error == "fail" else {"on_error": on_error}


async def submit(
    session: Session,
    service: str,
    body: Document,
    webhook: str | None,
    webhook_events: Sequence[str] | None,
    cancel_after_s: int | None,
    part: str | None = None,
    on_error: OnError = "fail",
) -> Document:
    """A prediction that outlives every process from now on. Raises what `Session.send` raises."""
    wishes = {"webhook": webhook, "webhook_events_filter": webhook_events, "part": part}
    headers = {} if cancel_after_s is None else {"cancel-after": f"{cancel_after_s}s"}
    sent = {**body, **{name: wish for name, wish in wishes.items() if wish is not None}}
    request = changing("POST", path_to("services", service, "predictions"), sent, headers)
    return (await session.send(replace(request, query=_wish(on_error)))).document
