"""Services: list, deploy, read, change, pause, resume, restart, delete; what was wished and what happened."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.dependencies import ContextOf, Reading, WhoAsks
from api.filters import statuses
from api.headers import etag
from api.links import links_for
from api.mutations import Call, Calling, Effect, Show, Shown, answer
from api.nearest import hint
from api.pages import Listing, listed
from api.routes.models import show_nothing
from api.routing import PlatformRoute
from api.schemas.config_files import check_config_files
from api.schemas.environment import check_env
from api.schemas.history import HistoryPage
from api.schemas.models import NewName, require_name
from api.schemas.operations import OperationShown
from api.schemas.service_ports import check_port
from api.schemas.services import (
    ResourcesBody,
    RevisionPage,
    RollbackBody,
    RuntimeBody,
    ServiceCreate,
    ServicePage,
    ServicePatch,
    ServicePut,
    ServiceShown,
    ServiceSpecBody,
    revision_document,
    service_document,
)
from api.streams import history_document
from core.errors import FieldProblem, InvalidField, UnknownField
from state.cataloguing import Description, Value
from state.database import ReadSession, WriteSession
from state.deploying import (
    Verb,
    act,
    change_service,
    create_service,
    hold_service,
    roll_back,
    seek_held_service,
)
from state.machines import SERVICE
from state.queries import services
from state.queries.history import list_changes
from state.queries.lists import Condition, View
from state.revisions import Resources
from state.service_ports import take_port
from state.tables import Operation, Service
from state.wishes import Expiry, Wish

router = APIRouter(prefix="/api/v1/services", tags=["services"], route_class=PlatformRoute)
LIST = Listing(
    {
        "name": "text",
        "display_name": "text",
        "status": statuses(SERVICE),
        "model": "text",
        "created_at": "time",
        "updated_at": "time",
    },
    orders=("created_at", "name", "updated_at"),
)
REVISIONS = Listing({"number": "number", "created_at": "time"}, orders=("created_at", "number"))
HISTORY = Listing({})
SHOWN = {"model": ServiceShown}
ACCEPTED = {"model": OperationShown}
EVERYTHING: Resources = {"cpu": None, "memory_mb": None, "gpu": None}  # in a wish: with the defaults of both
DESCRIBED = ("display_name", "description", "tags")


@router.get("", operation_id="list_services", openapi_extra=LIST.parameters, responses={200: {"model": ServicePage}})
async def list_services(
    request: Request, context: ContextOf, session: Reading, who: WhoAsks, view: Annotated[View, Depends(LIST)]
) -> Response:
    """The tenant's services; `model=iris` keeps those that are asked to serve that model."""
    links = links_for(request, context.settings)
    own = tuple(condition for condition in view.conditions if condition.field != "model")
    found = await services.list_services(
        session, who.tenant_id, replace(view, conditions=own), models_in(view.conditions)
    )
    items = [
        service_document(facts, links, context.port_fault) for facts in await services.describe(session, found.rows)
    ]
    return listed(request, found, items)


@router.post("", operation_id="create_service", status_code=202, responses={201: SHOWN, 202: ACCEPTED})
async def deploy(call: Calling, body: ServiceCreate) -> Response:
    """Deploy a ready version as a service."""
    wish, about = _whole_wish(body)
    ports = check_port(body.port, call.context.settings)

    async def work(session: WriteSession) -> Effect[Operation]:
        service, operation = await create_service(session, call.who, call.context.vault, body.name, wish, about)
        await take_port(session, service, body.port, ports)
        return Effect(operation, service.id)

    return await call.mutate(work, _show(call, status=201))


@router.put(
    "/{service}",
    operation_id="put_service",
    status_code=202,
    responses={200: SHOWN, 201: SHOWN, 202: ACCEPTED},
)
async def put_service(call: Calling, service: NewName, body: ServicePut) -> Response:
    """Deploy a service of this name, or let this one be exactly so: what the body leaves out gets its default."""
    require_name(service, "/service", "a service")
    if body.name not in (None, service):
        detail = f"the body names '{body.name}', the path '{service}'"
        raise InvalidField(detail, fields=[FieldProblem("/name", detail, "leave it out, or let both agree")])
    wish, about = _whole_wish(body)
    ports = check_port(body.port, call.context.settings)

    async def work(session: WriteSession) -> Effect[Operation]:
        vault = call.context.vault
        row = await seek_held_service(session, call.who, service)
        call.check_if_match(None if row is None else etag(row.edition))
        if row is not None:
            operation = await change_service(session, call.who, vault, row, wish)
        else:
            row, operation = await create_service(session, call.who, vault, service, wish, about)
        await take_port(session, row, body.port, ports)
        return Effect(operation, row.id)

    return await call.mutate(work, _show(call, status=None))


@router.get("/{service}", operation_id="get_service", responses={200: SHOWN})
async def get_service(request: Request, context: ContextOf, session: Reading, who: WhoAsks, service: str) -> Response:
    """One service: what is wanted of it, what is live, and how it is."""
    row = await services.find_service(session, who.tenant_id, service)
    facts = (await services.describe(session, [row]))[0]
    tag = etag(row.edition)
    shown = service_document(facts, links_for(request, context.settings), context.port_fault)
    # No 304: how many replicas answer changes without another edition of the service.
    return answer(Shown(shown, etag=tag))


@router.patch("/{service}", operation_id="update_service", responses={200: SHOWN, 202: ACCEPTED})
async def update_service(call: Calling, service: str, body: ServicePatch) -> Response:
    """Change a service (merge patch): another version, size or environment rolls out; the newest wish wins."""
    wish = _wish(body)
    ports = check_port(body.port, call.context.settings)

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_service(session, call.who, service)
        call.check_if_match(etag(row.edition))
        operation = await change_service(session, call.who, call.context.vault, row, wish)
        if "port" in body.model_fields_set:
            await take_port(session, row, body.port, ports)
        return Effect(operation, row.id)

    return await call.mutate(work, _show(call))


@router.delete("/{service}", operation_id="delete_service", status_code=202, responses={202: ACCEPTED, 204: {}})
async def delete_service(call: Calling, service: str) -> Response:
    """End all processes of a service and free its name, whatever it is doing now."""
    return await _act(call, service, "delete")


@router.post("/{service}:pause", operation_id="pause_service", status_code=202, responses={200: SHOWN, 202: ACCEPTED})
async def pause_service(call: Calling, service: str) -> Response:
    """Free all processes and keep the service."""
    return await _act(call, service, "pause")


@router.post("/{service}:resume", operation_id="resume_service", status_code=202, responses={200: SHOWN, 202: ACCEPTED})
async def resume_service(call: Calling, service: str) -> Response:
    """Bring a paused service back."""
    return await _act(call, service, "resume")


@router.post(
    "/{service}:restart", operation_id="restart_service", status_code=202, responses={200: SHOWN, 202: ACCEPTED}
)
async def restart_service(call: Calling, service: str) -> Response:
    """Replace every replica by a fresh one; a failed service is deployed again."""
    return await _act(call, service, "restart")


@router.post(
    "/{service}:rollback", operation_id="rollback_service", status_code=202, responses={200: SHOWN, 202: ACCEPTED}
)
async def rollback_service(call: Calling, service: str, body: RollbackBody | None = None) -> Response:
    """Run again what an earlier revision ran, as a new revision; without `revision` what ran before.

    While an update is rolled out, the revision that is live is what ran before.
    """
    number = body.revision if body else None

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_service(session, call.who, service)
        call.check_if_match(etag(row.edition))
        return Effect(await roll_back(session, call.who, call.context.vault, row, number), row.id)

    return await call.mutate(work, _show(call))


@router.get(
    "/{service}/revisions",
    operation_id="list_revisions",
    openapi_extra=REVISIONS.parameters,
    responses={200: {"model": RevisionPage}},
)
async def list_revisions(
    request: Request, session: Reading, who: WhoAsks, service: str, view: Annotated[View, Depends(REVISIONS)]
) -> Response:
    """Everything that was ever deployed as this service, the newest first."""
    row = await services.find_service(session, who.tenant_id, service)
    found = await services.list_revisions(session, row, view)
    return listed(request, found, [revision_document(facts) for facts in found.rows])


@router.get(
    "/{service}/history",
    operation_id="list_service_history",
    openapi_extra=HISTORY.parameters,
    responses={200: {"model": HistoryPage}},
)
async def list_service_history(
    request: Request, session: Reading, who: WhoAsks, service: str, view: Annotated[View, Depends(HISTORY)]
) -> Response:
    """Each change of its status: from, to, who, why, by which operation, when; the newest first."""
    row = await services.find_service(session, who.tenant_id, service)
    found = await list_changes(session, row.id, view)
    return listed(request, found, [history_document(change) for change in found.rows])


async def _act(call: Call, name: str, verb: Verb) -> Response:
    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_service(session, call.who, name)
        call.check_if_match(etag(row.edition))
        return Effect(await act(session, call.who, row, verb), row.id)

    return await call.mutate(work, show_nothing if verb == "delete" else _show(call))


def models_in(conditions: Sequence[Condition], pointer: str = "/model") -> tuple[str, ...]:
    """The models that a filter names; a relation can be equal or one of several. Raises `UnknownField`."""
    wanted = [condition for condition in conditions if condition.field == "model"]
    for condition in wanted:
        if condition.comparison not in ("eq", "in") or condition.negated or len(wanted) > 1:
            detail = "the filter 'model' takes one name, or several as model.in=iris,wine"
            raise UnknownField(detail, fields=[FieldProblem(pointer, detail, hint(condition.comparison, ("eq", "in")))])
    return tuple(str(value) for condition in wanted for value in condition.values)


def _whole_wish(body: ServiceSpecBody) -> tuple[Wish, Description]:
    """Everything that can be wished, said or not; the description once more, for a service that is new."""
    env = body.env or {}
    check_env(env)
    check_config_files(body.config_files or {})
    about = Description(body.display_name, body.description, body.tags or ())
    wish = Wish(
        model=body.model,
        version=body.version,
        replicas=body.replicas,
        resources={**EVERYTHING, **_resources(body.resources)},
        env=env,
        clears_env=True,
        config_files=body.config_files or {},
        clears_config_files=True,
        runtime={**_runtime(None), **_runtime(body.runtime)},
        about={name: getattr(body, name) for name in DESCRIBED},
        expiry=Expiry(body.expires_after),
        follow=body.follow,
    )
    return wish, about


def _wish(body: ServicePatch) -> Wish:
    given = body.model_fields_set
    for name in ("model", "version"):
        if name in given and getattr(body, name) is None:
            detail = f"a service cannot be without a {name}"
            raise InvalidField(detail, fields=[FieldProblem(f"/{name}", detail, "leave the field out to keep it")])
    check_env(body.env or {})
    check_config_files(body.config_files or {})
    about: dict[str, Value] = {name: getattr(body, name) for name in DESCRIBED if name in given}
    resources = _resources(body.resources) if body.resources else (EVERYTHING if "resources" in given else None)
    return Wish(
        model=body.model,
        version=body.version,
        replicas=1 if "replicas" in given and body.replicas is None else body.replicas,
        resources=resources,
        env=body.env,
        clears_env="env" in given and body.env is None,
        config_files=body.config_files,
        clears_config_files="config_files" in given and body.config_files is None,
        runtime=_runtime(body.runtime) if "runtime" in given else None,
        about=about,
        expiry=Expiry(body.expires_after) if "expires_after" in given else None,
        follow=bool(body.follow) if "follow" in given else None,
    )


def _resources(body: ResourcesBody | None) -> Resources:
    """The columns that were given; an explicit null removes."""
    if body is None:
        return {}
    columns = {"cpu": ("cpu", body.cpu), "memory": ("memory_mb", body.memory), "gpu": ("gpu", body.gpu)}
    return {column: value for name, (column, value) in columns.items() if name in body.model_fields_set}


def _runtime(body: RuntimeBody | None) -> dict[str, str | None]:
    """The parts that were given; nothing at all removes every part, as a null does each."""
    return RuntimeBody().model_dump() if body is None else body.model_dump(exclude_unset=True)


def _show(call: Call, status: int | None = 200) -> Show:
    """Without a status 201 for a service of which nothing was asked since it was made."""

    async def show(session: ReadSession, service_id: str) -> Shown:
        row = await session.get_one(Service, service_id)
        facts = (await services.describe(session, [row]))[0]
        found = status or (201 if row.generation == 1 else 200)
        where = call.links.to(f"/api/v1/services/{row.name}") if found == 201 else None
        return Shown(service_document(facts, call.links, call.context.port_fault), found, where, etag(row.edition))

    return show
