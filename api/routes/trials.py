"""Try a version out without a service: one prediction in a child process of a worker."""

from fastapi import APIRouter, Response

from api.mutations import Calling, Effect, Shown
from api.routing import PlatformRoute
from api.schemas.operations import OperationShown
from api.schemas.predictions import PredictionInput, read_input
from api.schemas.versions import TrialShown
from core.errors import NotFound
from state.cataloguing import hold_model, hold_ready_version
from state.database import ReadSession, WriteSession
from state.operations import submit
from state.queries.rows import by_ids
from state.tables import Operation

router = APIRouter(prefix="/api/v1/models/{model}/versions", tags=["versions"], route_class=PlatformRoute)
WAIT_S = 30  # unless the caller prefers otherwise: most models answer in a second


@router.post(
    "/{version}:test",
    operation_id="test_version",
    responses={200: {"model": TrialShown}, 202: {"model": OperationShown}},
)
async def test_version(call: Calling, model: str, version: str, body: PredictionInput) -> Response:
    """Answer one prediction with this version, and show what the model printed; no service is needed.

    The body is that of a prediction, up to 1 MiB. The answer is held for up to 30 s; then it is the operation (202).
    """
    given = read_input(body)

    async def work(session: WriteSession) -> Effect[Operation]:
        owner = await hold_model(session, call.who, model)
        row = await hold_ready_version(session, owner, version)
        operation = await submit(session, call.who, "version.test", row, body=given)
        return Effect(operation, operation.id)

    async def show(session: ReadSession, operation_id: str) -> Shown:
        operation = (await by_ids(session, Operation, [operation_id])).get(operation_id)
        if operation is None:
            raise NotFound(f"no operation has the id '{operation_id}'")
        return Shown(operation.result or {})

    return await call.mutate(work, show, default_wait_s=WAIT_S)
