"""Models: list, create (empty, or with a first version), read, describe, delete; aliases of versions."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import WithJsonSchema
from starlette.responses import JSONResponse

from api.dependencies import ContextOf, Reading, WhoAsks
from api.filters import statuses
from api.headers import etag, is_not_modified
from api.intake import FORM_CONTENT, upload_version, version_from_source
from api.links import links_for
from api.mutations import Call, Calling, Effect, Show, Shown, answer
from api.pages import Listing, listed
from api.routing import PlatformRoute, read_json
from api.schemas.base import Body, shown_as
from api.schemas.models import (
    ModelCreate,
    ModelDeletion,
    ModelFromSource,
    ModelPage,
    ModelPatch,
    ModelShown,
    NewName,
    model_document,
    require_name,
)
from api.schemas.operations import OperationShown
from api.schemas.quantities import VersionName
from api.uploads import is_form, is_json
from api.validation import read_body
from core.errors import FieldProblem, InvalidField, Json, UnsupportedMediaType, named_by
from state.cascading import delete_with_services, plan_deletion
from state.cataloguing import (
    Description,
    amend,
    create_model,
    delete_model,
    hold_model,
    hold_ready_version,
    remove_alias,
    set_alias,
)
from state.database import ReadSession, WriteSession
from state.following import AT_ONCE, roll_on
from state.machines import MODEL
from state.operations import record
from state.queries import models
from state.queries.following import hold_followers
from state.queries.lists import View
from state.tables import Model, Operation

router = APIRouter(prefix="/api/v1/models", tags=["models"], route_class=PlatformRoute)
LIST = Listing(
    {"name": "text", "display_name": "text", "status": statuses(MODEL), "created_at": "time", "updated_at": "time"},
    orders=("created_at", "name", "updated_at"),
)
SHOWN = {"model": ModelShown}
EITHER = {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("ModelCreate", "ModelFromSource")]}
CASCADE = Query(description="Delete the services that use the model, too: `true`, or `cascade` alone.")
CONFIRMED = Query(
    description="With `cascade`: the services that may go, as the dry run names them, with commas between; "
    "refused where others use the model now.",
    max_length=10_000,
)
DryRun = Annotated[bool, Query(description="Only say what would go.")]


class AliasBody(Body):
    """Which version an alias names."""

    model_config = shown_as({"version": "3"})

    version: VersionName


def cascade_asked(
    request: Request,
    cascade: Annotated[str | None, WithJsonSchema({"type": "boolean", "default": False}), CASCADE] = None,
) -> bool:
    """Whether services shall go, too; what a script leaves empty (`cascade=$UNSET`) does not mean it."""
    given = [each for each in str(request.url.query).split("&") if each.partition("=")[0] == "cascade"]
    if cascade not in (None, "true", "false") and given != ["cascade"]:
        detail = "query parameter 'cascade': write true or false"
        raise InvalidField(detail, fields=[FieldProblem("/cascade", detail, "cascade=true deletes the services, too")])
    return cascade not in (None, "false")


def confirmed_services(
    cascade: Annotated[bool, Depends(cascade_asked)], services: Annotated[str | None, CONFIRMED] = None
) -> frozenset[str] | None:
    """The names of the services that may go; nothing where all may."""
    if services is not None and not cascade:
        detail = "query parameter 'services': without cascade=true no service is deleted"
        raise InvalidField(detail, fields=[FieldProblem("/services", detail, "add cascade=true, or leave it out")])
    return None if services is None else frozenset(name for name in services.split(",") if name)


Cascade = Annotated[bool, Depends(cascade_asked)]
Confirmed = Annotated[frozenset[str] | None, Depends(confirmed_services)]


@router.get("", operation_id="list_models", openapi_extra=LIST.parameters, responses={200: {"model": ModelPage}})
async def list_models(
    request: Request, context: ContextOf, session: Reading, who: WhoAsks, view: Annotated[View, Depends(LIST)]
) -> Response:
    """The tenant's models with their newest versions in short."""
    links = links_for(request, context.settings)
    found = await models.list_models(session, who.tenant_id, view)
    summaries = await models.summaries(session, found.rows)
    return listed(request, found, [model_document(r, summaries[r.id], links) for r in found.rows])


@router.post(
    "",
    operation_id="create_model",
    status_code=201,
    responses={201: SHOWN, 202: {"model": OperationShown}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": EITHER}, **FORM_CONTENT},
        }
    },
)
async def create_model_from_either(call: Calling) -> Response:
    """An empty model from JSON; with `source_uri`, or from a form with the part `file`, also its version 1 (202)."""
    if is_form(call.request):
        return await upload_version(call, None)
    document = await _read_body(call.request)
    if isinstance(document, dict) and "source_uri" in document:
        return await version_from_source(call, None, read_body(document, ModelFromSource))
    return await _create_empty(call, read_body(document, ModelCreate))


@router.get("/{model}", operation_id="get_model", responses={200: SHOWN})
async def get_model(request: Request, context: ContextOf, session: Reading, who: WhoAsks, model: str) -> Response:
    """One model with its versions in short."""
    row = await models.find_model(session, who.tenant_id, model)
    summary = (await models.summaries(session, [row]))[row.id]
    tag = etag(row.edition)
    if is_not_modified(request, tag):
        return Response(status_code=304, headers={"ETag": tag})
    return answer(Shown(model_document(row, summary, links_for(request, context.settings)), etag=tag))


@router.patch("/{model}", operation_id="update_model", responses={200: SHOWN})
async def update_model(call: Calling, model: str, body: ModelPatch) -> Response:
    """Change what is said about a model (merge patch)."""
    changes = body.model_dump(include=body.model_fields_set)

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_model(session, call.who, model)
        call.check_if_match(etag(row.edition))
        amend(row, changes)
        return Effect(await record(session, call.who, "model.update", row), row.id)

    return await call.mutate(work, _show(call))


@router.delete(
    "/{model}",
    operation_id="delete_model",
    status_code=204,
    responses={200: {"model": ModelDeletion}, 202: {"model": OperationShown}},
)
async def delete_model_and_versions(
    call: Calling, model: str, cascade: Cascade, confirmed: Confirmed, dry_run: DryRun = False
) -> Response:
    """Delete a model with all its versions; refused while a service uses one, unless it is to `cascade`.

    With services it takes a while (202): its `result` names them. Nothing of the model can be deployed meanwhile.
    """
    if dry_run:
        return await _would_delete(call, model, with_services=cascade)

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_model(session, call.who, model)
        call.check_if_match(etag(row.edition))
        if not cascade:
            return Effect(await delete_model(session, call.who, row), row.id)
        return Effect(await delete_with_services(session, call.who, row, confirmed), row.id)

    return await call.mutate(work, show_nothing)


@router.put("/{model}/aliases/{alias}", operation_id="set_alias", responses={200: SHOWN})
async def put_alias(call: Calling, model: str, alias: NewName, body: AliasBody) -> Response:
    """Let `@alias` name a ready version from now on. Services that follow the alias are updated; others keep what they
    were deployed with."""
    require_name(alias, "/alias", "an alias")

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_model(session, call.who, model)
        call.check_if_match(etag(row.edition))
        # Services before versions, as every other writer does: the other order could end in a deadlock on PostgreSQL.
        followers = await hold_followers(session, row, f"@{alias}", AT_ONCE)
        with named_by("/version"):
            version = await hold_ready_version(session, row, body.version)
        operation = await set_alias(session, call.who, row, alias, version)
        await roll_on(session, call.who, call.context.vault, followers)
        return Effect(operation, row.id)

    return await call.mutate(work, _show(call))


@router.delete("/{model}/aliases/{alias}", operation_id="delete_alias", status_code=204)
async def delete_alias(call: Calling, model: str, alias: str) -> Response:
    """Forget an alias."""

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_model(session, call.who, model)
        call.check_if_match(etag(row.edition))
        return Effect(await remove_alias(session, call.who, row, alias), row.id)

    return await call.mutate(work, show_nothing)


async def _would_delete(call: Call, model: str, *, with_services: bool) -> Response:
    async with call.context.database.read() as session:
        row = await models.find_model(session, call.who.tenant_id, model)
        call.check_if_match(etag(row.edition))
        found = await plan_deletion(session, row, with_services=with_services)
    return JSONResponse({"dry_run": True, "services": list(found.services), "versions": found.versions})


async def show_nothing(session: ReadSession, resource_id: str) -> Shown:
    """204: what was asked for is gone."""
    return Shown(None)


async def _create_empty(call: Call, body: ModelCreate) -> Response:
    about = Description(body.display_name, body.description, body.tags or ())

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await create_model(session, call.who, body.name, about)
        return Effect(await record(session, call.who, "model.create", row), row.id)

    return await call.mutate(work, _show(call, status=201))


async def _read_body(request: Request) -> Json:
    """The JSON body of the one route that takes a form as well."""
    given = request.headers.get("content-type")
    if given is not None and not is_json(request):
        raise UnsupportedMediaType(
            f"a model is not made from '{given[:100]}'; send application/json, or multipart/form-data with its file"
        )
    return read_json(await request.body())


def _show(call: Call, status: int = 200) -> Show:
    async def show(session: ReadSession, model_id: str) -> Shown:
        row = await session.get_one(Model, model_id)
        summary = (await models.summaries(session, [row]))[row.id]
        where = call.links.to(f"/api/v1/models/{row.name}") if status == 201 else None
        return Shown(model_document(row, summary, call.links), status, where, etag(row.edition))

    return show
