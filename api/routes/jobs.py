"""Jobs: list, create, read, change, delete; what is run of one is in `api.routes.runs`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from api.dataset_sources import check_place
from api.dependencies import ContextOf, Reading, WhoAsks
from api.filters import one_of, statuses
from api.fitting import check_fit
from api.headers import etag
from api.links import links_for
from api.mutations import Call, Calling, Effect, Show, Shown, answer
from api.pages import Listing, listed
from api.routes.models import show_nothing
from api.routes.services import models_in
from api.routing import PlatformRoute
from api.schemas.batch_specs import BatchSpecBody, patched, spec_document, stored_spec
from api.schemas.environment import check_env
from api.schemas.history import HistoryPage
from api.schemas.jobs import AnyJobCreate, JobCreate, JobPage, JobPatch, JobShown, SpecChanges, job_document
from api.schemas.operations import OperationShown
from api.schemas.schedules import Scheduled, patched_schedule
from api.schemas.script_specs import ScriptBody, ScriptSpecBody
from api.script_jobs import changed_script, put_text, refuse_members, require_token, script_spec
from api.streams import history_document
from api.validation import read_body
from core.clock import Micros
from core.errors import Json
from core.settings import Settings
from state.cataloguing import Description
from state.database import ReadSession, WriteSession
from state.environments import NOTHING, Environment, merged_environment, sealed_environment
from state.jobs import (
    JobChange,
    Needs,
    NewJob,
    change_job,
    create_job,
    delete_job,
    hold_job,
    needs_of,
    new_job_id,
)
from state.jobtables import Job
from state.machines import JOB
from state.operations import Who
from state.queries import jobs
from state.queries.history import list_changes
from state.queries.lists import View
from state.running import RunSpec
from state.schedules import Schedule
from state.scripting import ScriptNeeds, needs_of_script
from state.tables import Operation
from state.ticking import set_schedule
from storage.base import Stored

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"], route_class=PlatformRoute)
LIST = Listing(
    {
        "name": "text",
        "display_name": "text",
        "kind": one_of(("batch", "script")),
        "status": statuses(JOB),
        "model": "text",
        "created_at": "time",
        "updated_at": "time",
    },
    orders=("created_at", "name", "updated_at"),
)
HISTORY = Listing({})
SHOWN = {"model": JobShown}
DESCRIBED: Final = ("display_name", "description", "tags")
Cascade = Annotated[bool, Query(description="Stop the runs that are under way first.")]


@router.get("", operation_id="list_jobs", openapi_extra=LIST.parameters, responses={200: {"model": JobPage}})
async def list_jobs(
    request: Request, context: ContextOf, session: Reading, who: WhoAsks, view: Annotated[View, Depends(LIST)]
) -> Response:
    """The tenant's jobs; `model=iris` keeps those that run that model."""
    own = tuple(condition for condition in view.conditions if condition.field != "model")
    found = await jobs.list_jobs(session, who.tenant_id, replace(view, conditions=own), models_in(view.conditions))
    links = links_for(request, context.settings)
    return listed(request, found, [job_document(each, links) for each in await jobs.describe_jobs(session, found.rows)])


@router.post("", operation_id="create_job", status_code=201, responses={201: SHOWN})
async def create(call: Calling, body: AnyJobCreate) -> Response:
    """A job that scores its input with a version of a model, or runs a script; checked as far as what it names is
    known."""
    spec = checked_spec(body, call.context.settings) if isinstance(body, JobCreate) else {}
    text = None if isinstance(body, JobCreate) else await received_text(call, body.script)
    check_env(body.env or {})
    job_id = new_job_id()
    environment = sealed_environment(call.context.vault, job_id, body.env) if body.env else NOTHING
    about = Description(body.display_name, body.description, body.tags or ())

    async def work(session: WriteSession) -> Effect[Operation]:
        found = spec if isinstance(body, JobCreate) else await script_spec(session, call.who, body, text)
        new = NewJob(body.name, body.kind, found, environment, body.after, about)
        needs = await checked_needs(session, call.who, body.kind, found, has_data=body.after is None)
        job, operation = await create_job(session, call.who, job_id, new, needs)
        if body.schedule is not None:
            await set_schedule(session, job, body.schedule.read, paused=body.schedule.paused)
        return Effect(operation, job.id)

    return await call.mutate(work, _show(call, status=201))


@router.get("/{job}", operation_id="get_job", responses={200: SHOWN})
async def get_job(request: Request, context: ContextOf, session: Reading, who: WhoAsks, job: str) -> Response:
    """One job: what its runs go by, and the last of them."""
    row = await jobs.find_job(session, who.tenant_id, job)
    facts = (await jobs.describe_jobs(session, [row]))[0]
    # No 304: its runs change without another edition of the job.
    return answer(Shown(job_document(facts, links_for(request, context.settings)), etag=etag(row.edition)))


@router.patch("/{job}", operation_id="update_job", responses={200: SHOWN})
async def update_job(call: Calling, job: str, body: JobPatch) -> Response:
    """Change a job (merge patch); runs that were begun stay as they are."""
    patch = await sent_patch(call)
    text = await put_text(call, patch.get("script"))

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_job(session, call.who, job)
        call.check_if_match(etag(row.edition))
        spec = await changed_spec(session, call, row, patch, text)
        needs = None
        if spec is not None:
            comes_after = body.after if "after" in patch else row.after_id
            needs = await checked_needs(session, call.who, row.kind, spec, has_data=comes_after is None)
        change = JobChange(
            spec,
            changed_environment(call, row, body),
            "after" in patch,
            body.after,
            {name: getattr(body, name) for name in DESCRIBED if name in patch},
        )
        operation = await change_job(session, call.who, row, change, needs)
        if "schedule" in patch:
            await change_schedule(session, row, patch["schedule"])
        return Effect(operation, row.id)

    return await call.mutate(work, _show(call))


@router.delete("/{job}", operation_id="delete_job", status_code=204, responses={202: {"model": OperationShown}})
async def delete(call: Calling, job: str, cascade: Cascade = False) -> Response:
    """Delete a job and its runs; their outputs stay. Refused while one is under way, unless it is to `cascade`."""

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_job(session, call.who, job)
        call.check_if_match(etag(row.edition))
        return Effect(await delete_job(session, call.who, row, with_runs=cascade), row.id)

    return await call.mutate(work, show_nothing)


@router.get(
    "/{job}/history",
    operation_id="list_job_history",
    openapi_extra=HISTORY.parameters,
    responses={200: {"model": HistoryPage}},
)
async def list_job_history(
    request: Request, session: Reading, who: WhoAsks, job: str, view: Annotated[View, Depends(HISTORY)]
) -> Response:
    """Each change of its status: from, to, who, why, by which operation, when; the newest first."""
    row = await jobs.find_job(session, who.tenant_id, job)
    found = await list_changes(session, row.id, view)
    return listed(request, found, [history_document(change) for change in found.rows])


def checked_spec(body: BatchSpecBody, settings: Settings) -> RunSpec:
    """The spec as it is kept. Raises `InvalidField`."""
    spec = stored_spec(body)
    if (uri := spec["input"].get("uri")) is not None:
        check_place(uri, settings, "/input/uri")
    return spec


async def sent_patch(call: Call) -> Mapping[str, Json]:
    """The body as it came: what is null in it is not what is left out, at any depth."""
    sent = await call.request.json() if await call.request.body() else {}
    return sent if isinstance(sent, dict) else {}


async def received_text(call: Call, script: ScriptBody) -> Stored | None:
    """The text of a new script, once it is in the store. Raises `ScriptNeedsToken`."""
    require_token(call.who)
    return await put_text(call, script)


async def checked_needs(
    session: WriteSession, who: Who, kind: str, spec: RunSpec, *, has_data: bool = True
) -> Needs | ScriptNeeds:
    """What a spec names, found and held; a batch fits it. Raises what `needs_of` and `check_fit` raise."""
    if kind == "script":
        return await needs_of_script(session, who.tenant_id, spec, has_data=has_data)
    needs = await needs_of(session, who.tenant_id, spec, has_data=has_data)
    check_fit(spec, needs)
    return needs


async def changed_spec(
    session: WriteSession, call: Call, job: Job, patch: Mapping[str, Json], text: Stored | None
) -> RunSpec | None:
    """The job's spec with what the patch says of it; nothing where it says nothing. Raises `InvalidField`."""
    batch, script = BatchSpecBody.model_fields, ScriptSpecBody.model_fields
    if job.kind == "script":
        require_token(call.who)
        refuse_members("script", patch, script, batch)
        return await changed_script(session, call.who, job, patch, text)
    refuse_members("batch", patch, batch, script)
    settings = call.context.settings
    said = {name: value for name, value in patch.items() if name in BatchSpecBody.model_fields}
    if not said:
        return None
    return checked_spec(read_body(patched(spec_document(job.spec), said), BatchSpecBody), settings)


async def change_schedule(session: WriteSession, job: Job, patch: Json) -> None:
    """Give a locked job the schedule that the patch makes of its own; null takes it away. Raises `InvalidField`."""
    if not isinstance(patch, Mapping):
        await set_schedule(session, job, None, paused=False)
        return
    body = read_body({"schedule": patched_schedule(job, patch)}, Scheduled).schedule
    kept = None if job.schedule is None else Schedule.of(job.schedule)

    def wish(now: Micros) -> Schedule:
        schedule = body.read(now)
        if kept is not None and (kept.every_s, kept.start) == (schedule.every_s, schedule.start):
            return replace(schedule, anchor=kept.anchor)  # its ticks stay where they are
        return schedule

    await set_schedule(session, job, wish, paused=body.paused)


def changed_environment(call: Call, job: Job, body: SpecChanges) -> Environment | None:
    """The job's variables with what the body says of them; nothing where it says nothing. Raises `InvalidField`."""
    if "env" not in body.model_fields_set:
        return None
    if body.env is None:
        return NOTHING
    check_env(body.env)
    return merged_environment(call.context.vault, job, body.env)


def _show(call: Call, status: int = 200) -> Show:
    async def show(session: ReadSession, job_id: str) -> Shown:
        row = await session.get_one(Job, job_id)
        facts = (await jobs.describe_jobs(session, [row]))[0]
        where = call.links.to(f"/api/v1/jobs/{row.name}") if status == 201 else None
        return Shown(job_document(facts, call.links), status, where, etag(row.edition))

    return show
