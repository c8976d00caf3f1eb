"""Try a version out without a service: one prediction in a child process of a worker."""

import base64
from typing import Any, Final

from fastapi import APIRouter, Response

from api.bodies import Raw, read_given
from api.headers import etag
from api.lending import check_files
from api.mutations import Call, Calling, Effect, Shown
from api.routing import PlatformRoute
from api.schemas.operations import OperationShown
from api.schemas.predictions import PredictionInput, read_input
from api.schemas.versions import TrialShown
from core.errors import Json, NotFound
from state.cataloguing import hold_model, hold_ready_version
from state.database import ReadSession, WriteSession
from state.operations import submit
from state.parts import find_part
from state.queries.rows import by_ids
from state.tables import Operation

router = APIRouter(prefix="/api/v1/models/{model}/versions", tags=["versions"], route_class=PlatformRoute)
WAIT_S: Final = 30  # unless the caller prefers otherwise: most models answer in a second
CONTENT: Final[dict[str, Any]] = {"application/json": {"schema": {"$ref": "#/components/schemas/PredictionInput"}}}


@router.post(
    "/{version}:test",
    operation_id="test_version",
    responses={200: {"model": TrialShown}, 202: {"model": OperationShown}},
    openapi_extra={"requestBody": {"required": True, "content": CONTENT}},
)
async def test_version(call: Calling, model: str, version: str) -> Response:
    """Answer one prediction with this version, and show what the model printed; no service is needed.

    The body is that of a prediction (JSON, CSV, a form), up to 1 MiB. The answer is held for up to 30 s; then it is the
    operation (202).
    """
    return await _test(call, model, version, None)


@router.post(
    "/{version}/parts/{part}:test",
    operation_id="test_part",
    responses={200: {"model": TrialShown}, 202: {"model": OperationShown}},
    openapi_extra={"requestBody": {"required": True, "content": CONTENT}},
)
async def test_part(call: Calling, model: str, version: str, part: str) -> Response:
    """The same with one part of the version; without a part the default one answers."""
    return await _test(call, model, version, part)


async def _test(call: Call, model: str, version: str, part: str | None) -> Response:
    given = await read_given(call.request, PredictionInput)
    arguments = _arguments(given)
    if part is not None:
        arguments["part"] = part

    async def work(session: WriteSession) -> Effect[Operation]:
        owner = await hold_model(session, call.who, model)
        row = await hold_ready_version(session, owner, version)
        if part is not None:
            find_part(row.signature, part, f"version {row.number} of model '{owner.name}'")
        call.check_if_match(etag(row.edition))
        await check_files(session, call.who.tenant_id, arguments.get("body"))
        operation = await submit(session, call.who, "version.test", row, **arguments)
        return Effect(operation, operation.id)

    async def show(session: ReadSession, operation_id: str) -> Shown:
        operation = (await by_ids(session, Operation, [operation_id])).get(operation_id)
        if operation is None:
            raise NotFound(f"no operation has the id '{operation_id}'")
        return Shown(operation.result or {})

    meant = given.sha256 if isinstance(given, Raw) and call.key is not None else None
    return await call.mutate(work, show, body_sha256=meant, default_wait_s=WAIT_S)


def _arguments(given: PredictionInput | Raw) -> dict[str, Json]:
    """The body as the operation keeps it. Raises what is wrong with it as JSON."""
    if isinstance(given, PredictionInput):
        return {"body": read_input(given)}
    return {"body_base64": base64.b64encode(given.data).decode(), "content_type": given.content_type}
