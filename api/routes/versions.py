"""Versions of a model: list, upload, overview, describe, delete, download."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.dependencies import ContextOf, Reading, WhoAsks
from api.downloads import BYTES, attachment, send_blob
from api.filters import statuses
from api.headers import etag, is_not_modified
from api.intake import (
    FORM_CONTENT,
    RAW_CONTENT,
    SOURCE_CONTENT,
    show_version,
    shown_version,
    upload_version,
    version_from_source,
)
from api.links import links_for
from api.mutations import Calling, Effect, Shown, answer
from api.pages import Listing, listed
from api.routes.models import show_nothing
from api.routing import PlatformRoute, read_json
from api.schemas.models import NewName
from api.schemas.operations import OperationShown
from api.schemas.versions import SourceFields, VersionPage, VersionPatch, VersionShown, merged_metrics, version_document
from api.uploads import is_json
from api.validation import read_body
from core.errors import Conflict, InvalidField
from state.cataloguing import amend, delete_version, hold_model, hold_version
from state.database import WriteSession
from state.features import features_fault
from state.machines import VERSION
from state.operations import record
from state.parts import FORMAT as PARTS
from state.queries import versions
from state.queries.lists import View
from state.queries.models import find_model
from state.tables import Operation, Version

router = APIRouter(prefix="/api/v1/models/{model}/versions", tags=["versions"], route_class=PlatformRoute)
LIST = Listing(
    {
        "number": "number",
        "status": statuses(VERSION),
        "format": "text",
        "task": "text",
        "digest": "text",
        "filename": "text",
        "created_at": "time",
        "updated_at": "time",
    },
    orders=("created_at", "number", "updated_at"),
)
SHOWN = {"model": VersionShown}


class NotFetched(Conflict):
    """The version's file is still at its source, or could not be fetched."""

    code, title = "not_fetched", "The file is not fetched"


@router.get("", operation_id="list_versions", openapi_extra=LIST.parameters, responses={200: {"model": VersionPage}})
async def list_versions(
    request: Request,
    context: ContextOf,
    session: Reading,
    who: WhoAsks,
    model: str,
    view: Annotated[View, Depends(LIST)],
) -> Response:
    """The versions of a model, the newest first."""
    links = links_for(request, context.settings)
    row = await find_model(session, who.tenant_id, model)
    found = await versions.list_versions(session, row, view)
    aliases = await versions.alias_names(session, [version.id for version in found.rows])
    items = [version_document(version, row.name, aliases.get(version.id, []), links) for version in found.rows]
    return listed(request, found, items)


@router.post(
    "",
    operation_id="upload_version",
    status_code=202,
    responses={201: SHOWN, 202: {"model": OperationShown}},
    openapi_extra={"requestBody": {"required": True, "content": {**SOURCE_CONTENT, **FORM_CONTENT, **RAW_CONTENT}}},
)
async def upload(call: Calling, model: NewName) -> Response:
    """Upload a model file, as a form with the part `file`, as the body itself, or by its URL; a missing model is made.

    A body may also come as what it is (`application/xml`, `application/onnx`, …): its first bytes tell what it is.
    The answer comes as soon as the bytes are stored, or the URL is; the inspection, which fetches it, is the operation
    to wait for.
    """
    if is_json(call.request):
        document = read_json(await call.request.body())
        return await version_from_source(call, model, read_body(document, SourceFields))
    return await upload_version(call, model)


@router.get("/{version}", operation_id="get_version", responses={200: SHOWN})
async def get_version(
    request: Request, context: ContextOf, session: Reading, who: WhoAsks, model: str, version: str
) -> Response:
    """The overview of a version: a number, `latest` (the newest ready one), `@alias` or `sha256:…`."""
    owner = await find_model(session, who.tenant_id, model)
    row = await versions.find_version(session, owner, version)
    tag = etag(row.edition)
    if is_not_modified(request, tag):
        return Response(status_code=304, headers={"ETag": tag})
    shown = await shown_version(session, row, owner.name, links_for(request, context.settings))
    return answer(Shown(shown, etag=tag))


@router.patch("/{version}", operation_id="update_version", responses={200: SHOWN})
async def update_version(call: Calling, model: str, version: str, body: VersionPatch) -> Response:
    """Change what is said about a version (merge patch); its bytes and what was found in them never change."""
    changes = body.model_dump(include=body.model_fields_set)

    async def work(session: WriteSession) -> Effect[Operation]:
        owner = await hold_model(session, call.who, model)
        row = await hold_version(session, owner, version)
        call.check_if_match(etag(row.edition))
        _check_features(row, body)
        amend(row, {**changes, **_derived(row, body)})
        return Effect(await record(session, call.who, "version.update", row, model=owner.name), row.id)

    return await call.mutate(work, show_version(call))


@router.delete("/{version}", operation_id="delete_version", status_code=204)
async def delete_one_version(call: Calling, model: str, version: str) -> Response:
    """Delete a version; refused while a service uses it. Its number is not given again."""

    async def work(session: WriteSession) -> Effect[Operation]:
        owner = await hold_model(session, call.who, model)
        row = await hold_version(session, owner, version)
        call.check_if_match(etag(row.edition))
        return Effect(await delete_version(session, call.who, owner, row), row.id)

    return await call.mutate(work, show_nothing)


@router.get(
    "/{version}/artifact",
    operation_id="download_artifact",
    responses={200: {"content": BYTES}, 206: {"description": "The range asked for.", "content": BYTES}},
)
async def download_artifact(request: Request, context: ContextOf, who: WhoAsks, model: str, version: str) -> Response:
    """The file as it was uploaded; `Range` is understood, the ETag is its digest."""
    async with context.database.read() as session:
        owner = await find_model(session, who.tenant_id, model)
        row = await versions.find_version(session, owner, version)
    if not row.digest:
        raise NotFetched(f"version {row.number} of model '{owner.name}' has no file yet: it is fetched from its source")
    ending = "zip" if row.format == PARTS else row.format or "bin"
    plain = f"{owner.name}-{row.number}.{ending}"
    return await send_blob(request, context, row.digest, attachment(plain, row.filename))


def _check_features(row: Version, body: VersionPatch) -> None:
    """Raises `InvalidField` for names that do not fit; before the inspection nobody knows, and it will say so."""
    fault = features_fault(row.signature, body.features) if row.signature and body.features else None
    if fault is not None:
        raise InvalidField(f"{fault.detail}; {fault.hint}", fields=[fault])


def _derived(row: Version, body: VersionPatch) -> dict[str, str | dict[str, object] | None]:
    """What a patch means for columns that depend on what was there."""
    changes: dict[str, str | dict[str, object] | None] = {}
    if "metrics" in body.model_fields_set:
        changes["metrics"] = merged_metrics(row.metrics, body.metrics)
    if "task" in body.model_fields_set and body.task is None:
        found: str | None = (row.signature or {}).get("task")
        changes["task"] = found  # what the inspection says again
    return changes
