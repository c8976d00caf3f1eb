"""Waiting for what goes on by itself: an operation, a prediction, the pages of a list."""

import time
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlsplit

from portside.errors import (
    OperationCanceled,
    OperationFailed,
    PredictionCanceled,
    PredictionFailed,
    WaitTimeout,
)
from portside.messages import Answer, Document, Query
from portside.requests import path_to, reading
from portside.session import Session, seconds

FINAL = ("succeeded", "failed", "canceled")
HOLD_S = 20.0  # how long the platform may hold one answer
MARGIN_S = 10.0  # how much later it may come


class Patience:
    """The time that several requests have together, in seconds."""

    def __init__(self, timeout_s: float) -> None:
        """Raises `InvalidInput`."""
        self.timeout_s = seconds(timeout_s)
        self._deadline = time.monotonic() + timeout_s

    @property
    def left_s(self) -> float:
        """What is left of it, at least nothing."""
        return max(self._deadline - time.monotonic(), 0.0)


async def operation_of(session: Session, answer: Answer) -> Document:
    """The operation that a mutation started or that it was. Raises what `Session.send` raises."""
    if answer.status == 202:
        return answer.document
    return await session.get(path_to("operations", answer.headers["operation-location"].rpartition("/")[2]))


async def wait_for_operation(session: Session, operation: Document, patience: Patience) -> Document:
    """The operation once it has succeeded, also across a restart of the platform.

    Raises `OperationFailed`, `OperationCanceled`, `WaitTimeout` and what `Session.send` raises.
    """
    while not operation["done"]:
        what = f"{operation['kind']} of {operation['target']['type']} {operation['target']['name']}"
        operation = await held(session, path_to("operations", f"{operation['id']}:wait"), what, patience)
    if operation["status"] == "succeeded":
        return operation
    raise (OperationCanceled if operation["status"] == "canceled" else OperationFailed)(operation)


async def wait_for_prediction(session: Session, prediction: Document, patience: Patience) -> Document:
    """The prediction once it has succeeded, also across a restart of the platform.

    Raises `PredictionFailed`, `PredictionCanceled`, `WaitTimeout` and what `Session.send` raises.
    """
    while prediction["status"] not in FINAL:
        path = path_to("predictions", f"{prediction['id']}:wait")
        prediction = await held(session, path, str(prediction["id"]), patience)
    if prediction["status"] == "succeeded":
        return prediction
    raise (PredictionCanceled if prediction["status"] == "canceled" else PredictionFailed)(prediction)


async def held(session: Session, path: str, what: str, patience: Patience) -> Document:
    """What the platform answers when it has held the request for as long as it may. Raises `WaitTimeout`, too."""
    if not (left_s := patience.left_s):
        raise WaitTimeout(f"{what} is not done after {patience.timeout_s:g} s; it goes on: wait again, or for longer.")
    held_s = min(left_s, HOLD_S)
    request = reading(path, {"timeout": f"{held_s:.2f}"}, idle_s=held_s + MARGIN_S)
    return (await session.send(request, left_s + MARGIN_S, session.retries.patient)).document


class Pages:
    """A list, page by page."""

    def __init__(self, session: Session, path: str, query: Query) -> None:
        self._session, self._path = session, path
        self._query: Query | None = query

    async def turn(self) -> Sequence[Document] | None:
        """The items of the next page; nothing after the last one. Raises what `Session.send` raises."""
        if self._query is None:
            return None
        page = (await self._session.send(reading(self._path, self._query))).document
        if token := page.get("next_page_token"):
            self._query = {**self._query, "page_token": token}
        else:  # predictions are listed as Replicate's API lists them, with the URL of the next page
            self._query = dict(parse_qsl(urlsplit(page["next"]).query)) if page.get("next") else None
        items: Sequence[Document] = page["results"] if "results" in page else page["items"]
        return items
