"""Schedules of jobs: read, give, take away, pause, resume, backfill; and what became of their ticks."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from api.dependencies import Reading, WhoAsks
from api.filters import one_of
from api.headers import etag
from api.mutations import Calling, Effect, Show, Shown, answer
from api.pages import Listing, listed
from api.routes.models import show_nothing
from api.routing import PlatformRoute
from api.schemas.schedules import (
    BackfillBody,
    ScheduleBody,
    ScheduleShown,
    TickPage,
    schedule_document,
    tick_document,
)
from api.script_jobs import check_may_run
from core.clock import from_rfc3339
from core.errors import FieldProblem, InvalidField, NotFound
from state.database import ReadSession, WriteSession
from state.jobs import hold_job
from state.jobtables import Job
from state.operations import record
from state.queries.jobs import find_job
from state.queries.lists import View
from state.queries.schedules import list_ticks, waiting_ticks
from state.tables import Operation
from state.ticking import backfill, pause_schedule, resume_schedule, set_schedule

router = APIRouter(prefix="/api/v1/jobs/{job}", tags=["jobs"], route_class=PlatformRoute)
TICKS = Listing(
    {
        "trigger": one_of(("schedule", "backfill", "after")),
        "outcome": one_of(("waiting", "fired", "skipped")),
        "reason": "text",
        "at": "time",
        "created_at": "time",
    },
    ("created_at", "at"),
)
SHOWN_AT_ONCE = 500
SHOWN: Final[dict[int | str, dict[str, Any]]] = {200: {"model": ScheduleShown}}


@router.get("/schedule", operation_id="get_schedule", responses=SHOWN)
async def get_schedule(session: Reading, who: WhoAsks, job: str) -> Response:
    """When the job runs by itself, and its next five ticks."""
    return answer(_shown(await find_job(session, who.tenant_id, job)))


@router.put("/schedule", operation_id="set_schedule", responses=SHOWN)
async def put_schedule(call: Calling, job: str, body: ScheduleBody) -> Response:
    """Give the job a schedule, in place of the one that it has; ticks count from now."""

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_job(session, call.who, job)
        check_may_run(call.who, row)
        call.check_if_match(etag(row.edition))
        await set_schedule(session, row, body.read, paused=body.paused)
        return Effect(await record(session, call.who, "job.schedule", row), row.id)

    return await call.mutate(work, _show())


@router.delete("/schedule", operation_id="delete_schedule", status_code=204)
async def delete_schedule(call: Calling, job: str) -> Response:
    """Take the schedule away; what waits for its turn is skipped, runs that are under way go on."""

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_job(session, call.who, job)
        check_may_run(call.who, row)
        call.check_if_match(etag(row.edition))
        await set_schedule(session, row, None, paused=False)
        return Effect(await record(session, call.who, "job.schedule", row), row.id)

    return await call.mutate(work, show_nothing)


@router.post("/schedule:pause", operation_id="pause_schedule", responses=SHOWN)
async def pause(call: Calling, job: str) -> Response:
    """Let no tick fire until it is resumed; a second pause changes nothing."""

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_job(session, call.who, job)
        check_may_run(call.who, row)
        await pause_schedule(session, row)
        return Effect(await record(session, call.who, "job.pause", row), row.id)

    return await call.mutate(work, _show())


@router.post("/schedule:resume", operation_id="resume_schedule", responses=SHOWN)
async def resume(call: Calling, job: str) -> Response:
    """Tick again from now on; what fell into the pause is skipped: `:backfill` runs it."""

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_job(session, call.who, job)
        check_may_run(call.who, row)
        await resume_schedule(session, row)
        return Effect(await record(session, call.who, "job.resume", row), row.id)

    return await call.mutate(work, _show())


@router.post("/schedule:backfill", operation_id="backfill_schedule", responses={200: {"model": TickPage}})
async def run_backfill(call: Calling, job: str, body: BackfillBody) -> Response:
    """Run each tick of a range that has not run, one after another; answers those that wait for their turn."""
    start, end = from_rfc3339(body.since), from_rfc3339(body.to)
    if end < start:
        detail = "'to' is before 'from'"
        raise InvalidField(detail, fields=[FieldProblem("/to", detail)])

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_job(session, call.who, job)
        check_may_run(call.who, row)
        queued = await backfill(session, call.who, row, start, end, again=body.again)
        return Effect(await record(session, call.who, "job.backfill", row, ticks=len(queued)), row.id)

    async def show(session: ReadSession, job_id: str) -> Shown:
        waiting = await waiting_ticks(session, job_id, "backfill")
        items = [tick_document(row) for row in waiting[:SHOWN_AT_ONCE]]
        return Shown({"items": items, "next_page_token": None, "total": len(waiting)})

    return await call.mutate(work, show)


@router.get("/ticks", operation_id="list_ticks", openapi_extra=TICKS.parameters, responses={200: {"model": TickPage}})
async def list_job_ticks(
    request: Request, session: Reading, who: WhoAsks, job: str, view: Annotated[View, Depends(TICKS)]
) -> Response:
    """What became of the ticks of the job, the newest first."""
    found = await list_ticks(session, await find_job(session, who.tenant_id, job), view)
    return listed(request, found, [tick_document(row) for row in found.rows])


def _show() -> Show:
    async def show(session: ReadSession, job_id: str) -> Shown:
        return _shown(await session.get_one(Job, job_id))

    return show


def _shown(row: Job) -> Shown:
    document = schedule_document(row)
    if document is None:
        raise NotFound(f"job '{row.name}' has no schedule; PUT one to /api/v1/jobs/{row.name}/schedule")
    return Shown(document, etag=etag(row.edition))
