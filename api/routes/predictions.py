"""Durable predictions: submit to a service, look, wait, cancel. Immediate ones go through the gateway, not here."""

import re
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.responses import JSONResponse

from api.bodies import read_given
from api.dependencies import ContextOf, Reading, WhoAsks
from api.filters import statuses
from api.links import links_for
from api.mutations import Call, Calling, Effect
from api.pages import Listing, listed_with_links
from api.routing import SubmissionRoute
from api.schemas.predictions import PredictionCreate, PredictionOfService, PredictionPage, PredictionShown
from api.streams import EVENT_STREAM, changes_of, event_stream, last_event_id, output_of
from api.submissions import FINAL, Wishes, preferred, submit
from core.errors import FieldProblem, InvalidField, named_by
from state.database import WriteSession
from state.documents import prediction_document
from state.machines import PREDICTION
from state.predicting import cancel_prediction, find_prediction, list_predictions
from state.queries.lists import View
from state.tables import Prediction

router = APIRouter(prefix="/api/v1", tags=["predictions"], route_class=SubmissionRoute)
CLIENT_ID = re.compile(r"prd_[A-Za-z0-9_-]{1,36}")
ClientId = Annotated[str, Path(json_schema_extra={"pattern": f"^{CLIENT_ID.pattern}$"})]
LIST = Listing(
    {"service": "text", "model": "text", "version": "text", "status": statuses(PREDICTION), "created_at": "time"}
)
COLUMNS = {"service": "service_name", "model": "model_name"}
LISTED_AT = "/api/v1/predictions"
SHOWN = {"model": PredictionShown}
CREATED: dict[int | str, dict[str, Any]] = {201: SHOWN, 202: SHOWN}
CONTENT: dict[str, Any] = {"application/json": {"schema": {"$ref": "#/components/schemas/PredictionCreate"}}}
BODY: dict[str, Any] = {"requestBody": {"required": True, "content": CONTENT}}
Wished = Annotated[Wishes, Depends()]
Seconds = Annotated[float, Query(alias="timeout", ge=0, le=60, description="Seconds to wait at most.")]


@router.post(
    "/services/{service}/predictions",
    operation_id="create_prediction",
    status_code=202,
    responses=CREATED,
    openapi_extra=BODY,
)
async def create_prediction(call: Calling, service: str, wishes: Wished) -> Response:
    """Submit a prediction that outlives every process; `Prefer: wait=N` holds the answer until it is final (201).

    The body may also be CSV (`text/csv`), lines of JSON (`application/x-ndjson`), an Arrow stream
    (`application/vnd.apache.arrow.stream`) or a form (one record); the output is JSON all the same.
    """
    return await submit(call, service, await read_given(call.request, PredictionCreate), wishes)


@router.post("/predictions", operation_id="create_prediction_by_version", status_code=202, responses=CREATED)
async def create_prediction_by_version(call: Calling, body: PredictionOfService, wishes: Wished) -> Response:
    """The same as Replicate's clients send it: `version` names the service."""
    with named_by("/version"):
        return await submit(call, body.version, body, wishes)


@router.post(
    "/deployments/{owner}/{service}/predictions",
    operation_id="create_deployment_prediction",
    status_code=202,
    responses=CREATED,
    openapi_extra=BODY,
)
async def create_deployment_prediction(call: Calling, owner: str, service: str, wishes: Wished) -> Response:
    """The same as Replicate's clients send it to a deployment, which is a service here.

    `owner` may be anything: whose service it is says the token.
    """
    return await submit(call, service, await read_given(call.request, PredictionCreate), wishes)


@router.put(
    "/services/{service}/predictions/{prediction}",
    operation_id="put_prediction",
    status_code=202,
    responses=CREATED,
    openapi_extra=BODY,
)
async def put_prediction(call: Calling, service: str, prediction: ClientId, wishes: Wished) -> Response:
    """The same under an id of the client's: a retry joins the running or finished one, another body is 409."""
    if CLIENT_ID.fullmatch(prediction) is None:
        detail = f"'{prediction[:60]}' cannot be the id of a prediction: write prd_ and 1 to 36 letters, digits, - or _"
        raise InvalidField(detail, fields=[FieldProblem("/prediction", detail)])
    given = await read_given(call.request, PredictionCreate)
    return await submit(call, service, given, wishes, prediction)


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
    shown = [prediction_document(row) for row in found.rows]
    return listed_with_links(request, found, shown, links_for(request, context.settings).to(LISTED_AT))


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


@router.get("/predictions/{prediction}/events", operation_id="stream_prediction_events", responses=EVENT_STREAM)
async def stream_prediction_events(request: Request, context: ContextOf, who: WhoAsks, prediction: str) -> Response:
    """Its changes as server-sent events; ends with the prediction. `Last-Event-ID` resumes."""
    async with context.database.read() as session:
        await find_prediction(session, who.tenant_id, prediction)
    after = last_event_id(request)
    return event_stream(
        request, context, changes_of(context, Prediction, prediction, after, FINAL, prediction_document)
    )


@router.get("/predictions/{prediction}/stream", operation_id="stream_prediction", responses=EVENT_STREAM)
async def stream_prediction(request: Request, context: ContextOf, who: WhoAsks, prediction: str) -> Response:
    """The same in the events of Replicate's streams: `logs` at each change, `output` or `error`, and `done`."""
    async with context.database.read() as session:
        await find_prediction(session, who.tenant_id, prediction)
    return event_stream(request, context, output_of(context, prediction, last_event_id(request), FINAL))


@router.post("/predictions/{prediction}/cancel", operation_id="cancel_prediction", responses={200: SHOWN})
async def cancel_by_path(call: Calling, prediction: str) -> Response:
    """Stop it: one that has not begun ends at once, a running one soon. Idempotent; what has ended stays as it is."""
    return await _cancel(call, prediction)


@router.post("/predictions/{prediction}:cancel", operation_id="cancel_prediction_by_verb", responses={200: SHOWN})
async def cancel_by_verb(call: Calling, prediction: str) -> Response:
    """The same as a verb."""
    return await _cancel(call, prediction)


async def _cancel(call: Call, prediction_id: str) -> Response:
    async def work(session: WriteSession) -> Effect[Prediction]:
        return Effect(await cancel_prediction(session, call.who, prediction_id))

    made = await call.once(Prediction, work)
    return JSONResponse(prediction_document(await preferred(call, made)), headers=call.headers(made.replayed))


def _shown(row: Prediction) -> Response:
    headers = {} if row.status in FINAL else {"Retry-After": "1"}
    return JSONResponse(prediction_document(row), headers=headers)
