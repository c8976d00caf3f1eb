"""Durable predictions: submit to a service, look, wait, cancel. Immediate ones go through the gateway, not here."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.responses import JSONResponse

from api.addresses import check_webhook_url
from api.dependencies import Context, ContextOf, Reading, WhoAsks
from api.gateway.split import ServiceFailed, ServicePaused
from api.links import links_for
from api.mutations import Call, Calling, Effect, Made
from api.pages import Listing, document
from api.routing import SubmissionRoute
from api.schemas.predictions import PredictionCreate, PredictionPage, PredictionShown, read_input
from api.streams import changes_of, event_stream, last_event_id
from api.uploads import keep
from core.errors import Conflict, FieldProblem, InvalidField, Json
from state.blobs import hold_blob
from state.database import WriteSession
from state.documents import prediction_document
from state.predicting import (
    Submission,
    cancel_prediction,
    find_prediction,
    list_predictions,
    submit_prediction,
)
from state.queries.lists import View
from state.queries.services import find_service
from state.tables import Prediction, Service
from state.worktables import PREDICTIONS

router = APIRouter(prefix="/api/v1", tags=["predictions"], route_class=SubmissionRoute)
FINAL = PREDICTIONS.finals
LARGEST_ROW_BYTES = 64 * 1024  # larger inputs lie in the artifact store
CLIENT_ID = re.compile(r"prd_[A-Za-z0-9_-]{1,36}")
LIST = Listing({"service": "text", "model": "text", "version": "text", "status": "text", "created_at": "time"})
COLUMNS = {"service": "service_name", "model": "model_name"}
SHOWN = {"model": PredictionShown}
CREATED: dict[int | str, dict[str, Any]] = {201: SHOWN, 202: SHOWN}
Seconds = Annotated[float, Query(alias="timeout", ge=0, le=60, description="Seconds to wait at most.")]


@router.post("/services/{service}/predictions", operation_id="create_prediction", status_code=202, responses=CREATED)
async def create_prediction(call: Calling, service: str, body: PredictionCreate) -> Response:
    """Submit a prediction that outlives every process; `Prefer: wait=N` holds the answer until it is final (201)."""
    return await _submit(call, service, body, None)


@router.put(
    "/services/{service}/predictions/{prediction}",
    operation_id="put_prediction",
    status_code=202,
    responses=CREATED,
)
async def put_prediction(call: Calling, service: str, prediction: str, body: PredictionCreate) -> Response:
    """The same under an id of the client's: a retry joins the running or finished one, whatever its body says."""
    if CLIENT_ID.fullmatch(prediction) is None:
        detail = f"'{prediction[:60]}' cannot be the id of a prediction: write prd_ and 1 to 36 letters, digits, - or _"
        raise InvalidField(detail, fields=[FieldProblem("/prediction", detail)])
    return await _submit(call, service, body, prediction)


@router.get(
    "/predictions",
    operation_id="list_predictions",
    openapi_extra=LIST.parameters,
    responses={200: {"model": PredictionPage}},
)
async def list_all_predictions(
    request: Request, context: ContextOf, session: Reading, who: WhoAsks, view: Annotated[View, Depends(LIST)]
) -> Response:
    """The tenant's predictions, the newest first."""
    conditions = tuple(replace(c, field=COLUMNS.get(c.field, c.field)) for c in view.conditions)
    found = await list_predictions(session, who.tenant_id, replace(view, conditions=conditions))
    shown = document(request, found, [prediction_document(row) for row in found.rows])
    answer: dict[str, Json] = {
        "results": shown["items"],
        "next": _next_url(request, context, shown["next_page_token"]),
        "previous": None,
    }
    return JSONResponse(answer if found.total is None else {**answer, "total": found.total})


@router.get("/predictions/{prediction}", operation_id="get_prediction", responses={200: SHOWN})
async def get_prediction(session: Reading, who: WhoAsks, prediction: str) -> Response:
    """One prediction."""
    return _shown(await find_prediction(session, who.tenant_id, prediction))


@router.get("/predictions/{prediction}:wait", operation_id="wait_for_prediction", responses={200: SHOWN})
async def wait_for_prediction(context: ContextOf, who: WhoAsks, prediction: str, timeout_s: Seconds = 30) -> Response:
    """The prediction when it is final, or as it is when the time is over. Going away cancels nothing."""
    async with context.database.read() as session:
        row = await find_prediction(session, who.tenant_id, prediction)
    if row.status not in FINAL:
        row = await context.waiters.wait_final(Prediction, prediction, FINAL, timeout_s) or row
    return _shown(row)


@router.get("/predictions/{prediction}/events", operation_id="stream_prediction_events")
async def stream_prediction_events(request: Request, context: ContextOf, who: WhoAsks, prediction: str) -> Response:
    """Its changes as server-sent events; ends with the prediction. `Last-Event-ID` resumes."""
    async with context.database.read() as session:
        await find_prediction(session, who.tenant_id, prediction)
    after = last_event_id(request)
    return event_stream(changes_of(context, Prediction, prediction, after, FINAL, prediction_document))


@router.post("/predictions/{prediction}/cancel", operation_id="cancel_prediction", responses={200: SHOWN})
async def cancel_by_path(call: Calling, prediction: str) -> Response:
    """Stop it: one that has not begun ends at once, a running one soon. Idempotent; what has ended stays as it is."""
    return await _cancel(call, prediction)


@router.post("/predictions/{prediction}:cancel", operation_id="cancel_prediction_by_verb", responses={200: SHOWN})
async def cancel_by_verb(call: Calling, prediction: str) -> Response:
    """The same as a verb."""
    return await _cancel(call, prediction)


async def _submit(call: Call, service: str, body: PredictionCreate, own_id: str | None) -> Response:
    given = read_input(body)
    if body.webhook is not None:
        check_webhook_url(body.webhook, call.context.settings, "/webhook")
    encoded = json.dumps(given).encode()
    digests: list[str] = []

    async def store() -> None:
        digests[:] = [await _store(call, service, encoded)]

    async def work(session: WriteSession) -> Effect[Prediction]:
        found = await find_service(session, call.who.tenant_id, service)
        _check_serving(found)
        for digest in digests:
            await hold_blob(session, digest)
        submission = Submission(
            body=None if digests else given,
            body_digest=digests[0] if digests else None,
            base_url=call.links.base,
            webhook=body.webhook,
            webhook_events=body.webhook_events_filter,
            id=own_id,
        )
        return Effect(await submit_prediction(session, call.who, found, submission))

    made = await call.once(Prediction, work, prepare=store if len(encoded) > LARGEST_ROW_BYTES else None)
    row = await _wait(call, made)
    headers = {**call.headers(made.replayed), "Location": call.links.to(f"/api/v1/predictions/{row.id}")}
    if row.status not in FINAL:
        headers["Retry-After"] = "1"
    return JSONResponse(prediction_document(row), 201 if row.status in FINAL else 202, headers)


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


async def _store(call: Call, service: str, encoded: bytes) -> str:
    """The digest of an input that is too large for its row and lies in the store from now on."""
    context = call.context
    async with context.database.read() as session:  # a refused submission leaves nothing in the store
        _check_serving(await find_service(session, call.who.tenant_id, service))

    async def pieces() -> AsyncIterator[bytes]:
        yield encoded

    stored = await context.store.put(pieces())
    await keep(context, stored)
    return str(stored.digest)


async def _cancel(call: Call, prediction_id: str) -> Response:
    async def work(session: WriteSession) -> Effect[Prediction]:
        return Effect(await cancel_prediction(session, call.who, prediction_id))

    made = await call.once(Prediction, work)
    return JSONResponse(prediction_document(await _wait(call, made)), headers=call.headers(made.replayed))


async def _wait(call: Call, made: Made[Prediction]) -> Prediction:
    """The prediction after the wait that the client prefers."""
    wait_s = call.wait_s()
    if made.row.status in FINAL or wait_s <= 0:
        return made.row
    return await call.context.waiters.wait_final(Prediction, made.row.id, FINAL, wait_s) or made.row


def _shown(row: Prediction) -> Response:
    headers = {} if row.status in FINAL else {"Retry-After": "1"}
    return JSONResponse(prediction_document(row), headers=headers)


def _next_url(request: Request, context: Context, token: Json) -> str | None:
    if token is None:
        return None
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "page_token"]
    query = urlencode([*kept, ("page_token", str(token))])
    return links_for(request, context.settings).to(f"/api/v1/predictions?{query}")
