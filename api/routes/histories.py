"""Each change of a status, of what is not a service: models, versions, operations and predictions."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response

from api.dependencies import Reading, WhoAsks
from api.pages import Listing, listed
from api.routing import PlatformRoute
from api.schemas.history import HistoryPage
from api.streams import history_document
from state.database import ReadSession
from state.predicting import find_prediction
from state.queries import operations
from state.queries.datasets import find_dataset
from state.queries.history import list_changes
from state.queries.lists import View
from state.queries.models import find_model
from state.queries.versions import find_version

router = APIRouter(prefix="/api/v1", route_class=PlatformRoute, responses={200: {"model": HistoryPage}})
HISTORY: Final = Listing({})
Asked = Annotated[View, Depends(HISTORY)]


@router.get(
    "/models/{model}/history", operation_id="list_model_history", tags=["models"], openapi_extra=HISTORY.parameters
)
async def list_model_history(request: Request, session: Reading, who: WhoAsks, model: str, view: Asked) -> Response:
    """Each change of a model's status: from, to, who, why, by which operation, when; the newest first."""
    return await _told(request, session, (await find_model(session, who.tenant_id, model)).id, view)


@router.get(
    "/models/{model}/versions/{version}/history",
    operation_id="list_version_history",
    tags=["versions"],
    openapi_extra=HISTORY.parameters,
)
async def list_version_history(
    request: Request, session: Reading, who: WhoAsks, model: str, version: str, view: Asked
) -> Response:
    """The same of a version."""
    owner = await find_model(session, who.tenant_id, model)
    return await _told(request, session, (await find_version(session, owner, version)).id, view)


@router.get(
    "/datasets/{dataset}/history",
    operation_id="list_dataset_history",
    tags=["datasets"],
    openapi_extra=HISTORY.parameters,
)
async def list_dataset_history(request: Request, session: Reading, who: WhoAsks, dataset: str, view: Asked) -> Response:
    """The same of a dataset."""
    return await _told(request, session, (await find_dataset(session, who.tenant_id, dataset)).id, view)


@router.get(
    "/operations/{operation_id}/history",
    operation_id="list_operation_history",
    tags=["operations"],
    openapi_extra=HISTORY.parameters,
)
async def list_operation_history(
    request: Request, session: Reading, who: WhoAsks, operation_id: str, view: Asked
) -> Response:
    """The same of an operation: each attempt, and why it ended."""
    return await _told(request, session, (await operations.find(session, who.tenant_id, operation_id)).id, view)


@router.get(
    "/predictions/{prediction}/history",
    operation_id="list_prediction_history",
    tags=["predictions"],
    openapi_extra=HISTORY.parameters,
)
async def list_prediction_history(
    request: Request, session: Reading, who: WhoAsks, prediction: str, view: Asked
) -> Response:
    """The same of a durable prediction."""
    return await _told(request, session, (await find_prediction(session, who.tenant_id, prediction)).id, view)


async def _told(request: Request, session: ReadSession, resource_id: str, view: View) -> Response:
    found = await list_changes(session, resource_id, view)
    return listed(request, found, [history_document(change) for change in found.rows])
