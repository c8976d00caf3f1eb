"""What a durable prediction asks a replica, and what is kept of the answer."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import httpx2

from core.errors import Json
from state.tables import Prediction
from storage.digests import Digest
from workers.files import with_files
from workers.replica_client import JSON, Question
from workers.resources import Resources

log = logging.getLogger(__name__)

READ_S: Final = 5.0  # for what takes milliseconds, but may queue behind the predictions of others
FILE_MARK: Final = b'"$file"'  # most inputs name no file, and are not looked through
NUL_MARK: Final = b"\\u0000"
LARGEST_SHOWN_BYTES: Final = 64 * 1024  # a larger input lies in the artifact store only, JSON or not
Post = Callable[[str, Question], Awaitable[httpx2.Response]]


def path_of(row: Prediction) -> str:
    """Where a replica answers it."""
    path = f"{_asked_at(row)}/predict"
    return f"{path}?on_error=record" if _keeps_going(row) else path


def _asked_at(row: Prediction) -> str:
    return "" if row.part is None else f"/parts/{row.part}"


async def question_of(row: Prediction, resources: Resources) -> Question:
    """The input as it is sent to a replica. Raises `InvalidField` where a file that it names is gone."""
    if row.body_digest is None:
        body, document = json.dumps(row.body).encode(), row.body
    else:
        body = b"".join([piece async for piece in resources.store.open(Digest.parse(row.body_digest))])
        content_type = (row.options or {}).get("content_type")
        if content_type is not None:
            return Question(body, content_type)
        document = json.loads(body) if FILE_MARK in body else None
    if FILE_MARK not in body or document is None:
        return Question(body)
    return Question(json.dumps(await with_files(document, row.tenant_id, resources)).encode())


async def shown_input(row: Prediction, question: Question, post: Post, within_s: float) -> dict[str, Json]:
    """Columns of the row: what rows or a form say in JSON, where a replica tells it in time and it is not too large.

    Only who looks at the prediction misses it: nothing that happens here is a fault of the prediction.
    """
    if question.content_type == JSON or len(question.body) > LARGEST_SHOWN_BYTES:
        return {}
    try:
        async with asyncio.timeout(min(within_s, READ_S)):
            response = await post(f"{_asked_at(row)}/read", question)
        if response.status_code != 200 or len(response.content) > LARGEST_SHOWN_BYTES:
            return {}
        return {"body": document(response)}
    except (TimeoutError, httpx2.TransportError, ValueError) as error:  # ValueError: it is no JSON
        log.info("the input of prediction %s is not shown: %s", row.id, type(error).__name__)
        return {}


def output_of(row: Prediction, answer: Mapping[str, Json]) -> Json:
    """The output as it is shown: with the faults of bad records where those were to be told."""
    outputs = answer["outputs"]
    return {"outputs": outputs, "errors": answer.get("errors", [])} if _keeps_going(row) else outputs


def document(response: httpx2.Response) -> dict[str, Json]:
    """An answer as it can be stored: PostgreSQL keeps no NUL, which the texts of rows and of models may have."""
    found: dict[str, Json] = json.loads(response.content)
    if NUL_MARK in response.content:
        found = {_without_nul(name): _without_nul(value) for name, value in found.items()}
    return found


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(each) for each in value]
    if isinstance(value, dict):
        return {_without_nul(name): _without_nul(each) for name, each in value.items()}
    return value


def _keeps_going(row: Prediction) -> bool:
    return (row.options or {}).get("on_error") == "record"
