"""From a submitted input to a durable prediction, whichever path it came by: check, store what is large, then the row.

What does not fit into a row lies in the store first, so that the transaction is short (ARCHITECTURE, sentence 8).
"""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final

from fastapi import Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.addresses import check_webhook_url
from api.bodies import Raw
from api.gateway.split import ServiceFailed, ServicePaused
from api.lending import check_files
from api.mutations import Call, Effect, Made
from api.schemas.predictions import Hook, OnError, PartKey, PredictionCreate, read_input, read_webhook
from api.uploads import keep
from core.errors import Conflict, FieldProblem, InvalidField, Json
from state.blobs import hold_blob
from state.database import Session, WriteSession
from state.documents import prediction_document
from state.predicting import Submission, submit_prediction
from state.queries.services import find_service
from state.releases import check_all_know
from state.tables import Prediction, Service
from state.worktables import PREDICTIONS

FINAL: Final = PREDICTIONS.finals
FILE_MARK: Final = b'"$file"'  # most inputs name none, and are not looked through
LARGEST_ROW_BYTES: Final = 64 * 1024  # larger inputs lie in the artifact store
# Replicate's spelling: 90, 90s, 1m30s, 1h.
CANCEL_AFTER: Final = re.compile(r"(?:(\d{1,3})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s?)?")
LONGEST_CANCEL_AFTER: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the query says of a submission."""

    on_error: Annotated[
        OnError,
        Query(description="`record` answers the other records where some are bad, which `output.errors` tells."),
    ] = "fail"
    part: Annotated[
        PartKey | None,
        Query(description="The part that is asked instead of the default one; JSON may name it in the body instead."),
    ] = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: the document, or the bytes of rows or a form; how that is answered; whom the answer is told."""

    data: bytes
    document: dict[str, Json] | None
    options: Mapping[str, str]
    hook: Hook | None
    sha256: str | None  # where the client chose the id
    part: str | None
    body_sha256: str | None = None  # where bytes alone do not say what they mean, and a key is held against that

    @property
    def is_stored(self) -> bool:
        """Whether it lies in the artifact store, not in its row."""
        return self.document is None or len(self.data) > LARGEST_ROW_BYTES


async def submit(
    call: Call, service: str, given: PredictionCreate | Raw, wishes: Wishes, own_id: str | None = None
) -> Response:
    """Accept the prediction once and answer it: final (201) within the preferred wait, else as it is (202)."""
    asked = _asked(call, given, wishes, has_own_id=own_id is not None)
    cancel_after = read_cancel_after(call.request)
    names_files = asked.document is not None and FILE_MARK in asked.data
    digests: list[str] = []

    async def store() -> None:
        digests[:] = [await _store(call, service, asked)]

    async def work(session: WriteSession) -> Effect[Prediction]:
        found = await find_service(session, call.who.tenant_id, service)
        _check_serving(found)
        await _check_known(session, asked)
        if names_files:
            await check_files(session, call.who.tenant_id, asked.document)
        for digest in digests:
            await hold_blob(session, digest)
        submission = Submission(
            body=None if digests else asked.document,
            body_digest=digests[0] if digests else None,
            base_url=call.links.base,
            webhook=None if asked.hook is None else asked.hook.url,
            webhook_events=None if asked.hook is None else asked.hook.events,
            id=own_id,
            cancel_after=cancel_after,
            options=asked.options,
            request_sha256=asked.sha256,
            part=asked.part,
        )
        return Effect(await submit_prediction(session, call.who, found, submission))

    prepare = store if asked.is_stored else None
    made = await call.once(Prediction, work, body_sha256=asked.body_sha256, prepare=prepare)
    row = await preferred(call, made)
    headers = {**call.headers(made.replayed), "Location": call.links.to(f"/api/v1/predictions/{row.id}")}
    if row.status not in FINAL:
        headers["Retry-After"] = "1"
    return JSONResponse(prediction_document(row), 201 if row.status in FINAL else 202, headers)


def _asked(call: Call, given: PredictionCreate | Raw, wishes: Wishes, *, has_own_id: bool) -> Asked:
    """Raises `InvalidField`."""
    options: dict[str, str] = {} if wishes.on_error == "fail" else {"on_error": wishes.on_error}
    if isinstance(given, Raw):
        meant = given.sha256 if has_own_id or call.key is not None else None
        sha256 = _sha256([meant, options, wishes.part]) if has_own_id else None
        options["content_type"] = given.content_type
        return Asked(given.data, None, options, None, sha256, wishes.part, meant)
    document, hook = read_input(given), read_webhook(given)
    if hook is not None:
        check_webhook_url(hook.url, call.context.settings, hook.pointer)
    told = None if hook is None else [hook.url, hook.events]
    part = _part(given.part, wishes.part)
    sha256 = _sha256([document, options, told, part]) if has_own_id else None
    return Asked(json.dumps(document).encode(), document, options, hook, sha256, part)


def _part(in_body: str | None, in_query: str | None) -> str | None:
    """The part that is asked. Raises `InvalidField` where two are."""
    if in_body is not None and in_query is not None and in_body != in_query:
        detail, hint = f"the body names the part '{in_body}', the query '{in_query}'", "name it in one place"
        raise InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/part", detail, hint)])
    return in_query if in_body is None else in_body


def _sha256(meant: Json) -> str:
    """What a submission means, however its members are ordered."""
    return hashlib.sha256(json.dumps(meant, sort_keys=True).encode()).hexdigest()


async def preferred(call: Call, made: Made[Prediction]) -> Prediction:
    """The prediction after the wait that the client prefers."""
    wait_s = call.wait_s()
    if made.row.status in FINAL or wait_s <= 0:
        return made.row
    return await call.context.waiters.wait_final(Prediction, made.row.id, FINAL, wait_s) or made.row


def read_cancel_after(request: Request) -> timedelta | None:
    """The `Cancel-After` of a submission. Raises `InvalidField`."""
    given = request.headers.get("cancel-after")
    if given is None:
        return None
    found = CANCEL_AFTER.fullmatch(given.strip().lower())
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    limit = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if not timedelta() < limit <= LONGEST_CANCEL_AFTER:
        detail = f"'{given[:60]}' is no time to cancel after"
        hint = "write it as 30s, 5m or 1h30m, at most 24h"
        raise InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/Cancel-After", detail, hint)])
    return limit


def _check_serving(service: Service) -> None:
    """Raises the conflict of a service that will not answer by itself."""
    where = f"/api/v1/services/{service.name}"
    if service.status in ("paused", "pausing"):
        resume = f"{where}:resume"
        raise ServicePaused(
            f"service '{service.name}' is {service.status}; POST {resume} brings it back", resume=resume
        )
    if service.status == "failed":
        raise ServiceFailed(f"service '{service.name}' has failed; GET {where} says why")
    if service.status == "deleting":
        raise Conflict(f"service '{service.name}' is being deleted", current_status="deleting")


async def _check_known(session: Session, asked: Asked) -> None:
    """Raises `UpgradeUnderWay` while a worker may be there that would send the body, or ask the model, otherwise."""
    if asked.options:
        await check_all_know(session, "0014", "a prediction of rows or a form, or with on_error")
    elif asked.part is not None:
        await check_all_know(session, "0013", "a prediction that names a part")


async def _store(call: Call, service: str, asked: Asked) -> str:
    """The digest of an input that is too large for its row and lies in the store from now on."""
    context = call.context
    async with context.database.read() as session:  # a refused submission leaves nothing in the store
        _check_serving(await find_service(session, call.who.tenant_id, service))
        await _check_known(session, asked)

    async def pieces() -> AsyncIterator[bytes]:
        yield asked.data

    stored = await context.store.put(pieces())
    await keep(context, stored)
    return str(stored.digest)
