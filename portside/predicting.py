"""Asking a service: at once, or by a durable prediction."""

from collections.abc import Sequence

from portside.errors import InvalidInput
from portside.messages import Document, Json, Repeat, Request
from portside.requests import changing, encoded, path_to
from portside.session import Session

SPELLINGS = "give inputs (a record or a list of them), or columns with data, or tensors"


def question(inputs: Json, columns: Json, data: Json, tensors: Json) -> Document:
    """The body of a prediction in the one spelling that was given. Raises `InvalidInput`."""
    given = {"inputs": inputs, "columns": columns, "data": data, "tensors": tensors}
    said = {name: value for name, value in given.items() if value is not None}
    if list(said) not in (["inputs"], ["columns", "data"], ["tensors"]):
        raise InvalidInput(f"This is no input ({', '.join(said) or 'nothing'}): {SPELLINGS}.")
    return said


async def predict(
    session: Session, service: str, body: Document, timeout_s: float | None, part: str | None = None
) -> Json:
    """What the model answers, or its part, in the spelling that it was asked in.

    Sent again only where no platform has seen it, or where none could begin (503): it has no key that would make it
    happen once. Raises what `Session.send` raises.
    """
    request = Request(
        "POST",
        path_to("services", service, *(() if part is None else ("parts", part)), "predict"),
        headers={"content-type": "application/json"},
        body=encoded(body),
        repeat=Repeat.UNLESS_SENT,
        wants_document=True,
    )
    return (await session.send(request, timeout_s)).document["outputs"]


async def submit(
    session: Session,
    service: str,
    body: Document,
    webhook: str | None,
    webhook_events: Sequence[str] | None,
    cancel_after_s: int | None,
    part: str | None = None,
) -> Document:
    """A prediction that outlives every process from now on. Raises what `Session.send` raises."""
    wishes = {"webhook": webhook, "webhook_events_filter": webhook_events, "part": part}
    headers = {} if cancel_after_s is None else {"cancel-after": f"{cancel_after_s}s"}
    sent = {**body, **{name: wish for name, wish in wishes.items() if wish is not None}}
    request = changing("POST", path_to("services", service, "predictions"), sent, headers)
    return (await session.send(request)).document
