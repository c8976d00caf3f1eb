"""Runs: begin one, list, read, pause, resume, stop, delete, wait; its log, result, figures, history and events."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Final, get_args

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.responses import JSONResponse

from api.dependencies import Context, ContextOf, Reading, WhoAsks
from api.filters import Kind, one_of, statuses
from api.headers import etag
from api.links import Links, links_for
from api.mutations import Call, Calling, Effect, Show, Shown, answer
from api.pages import Listing, listed
from api.routes.jobs import changed_environment, changed_spec, checked_needs, sent_patch
from api.routes.models import show_nothing
from api.routes.replicas import Follow, TailBytes, with_first
from api.routing import PlatformRoute
from api.run_streams import run_events
from api.schemas.history import HistoryPage
from api.schemas.jobs import RunCreate
from api.schemas.operations import OperationShown
from api.schemas.runs import (
    ResultShown,
    RunMetricsShown,
    RunPage,
    RunShown,
    result_document,
    run_document,
    run_metrics_document,
    run_path,
)
from api.script_jobs import check_may_run, put_text
from api.streams import EVENT_STREAM, event_stream, history_document, last_event_id, live
from core.errors import Conflict
from state.database import ReadSession, Session, WriteSession
from state.datatables import Dataset
from state.jobs import hold_job
from state.jobtables import Run
from state.machines import RUN
from state.operations import Who
from state.queries import runs
from state.queries.history import list_changes
from state.queries.jobs import find_job
from state.queries.lists import Page, View
from state.reports import SHOWN as SHOWN_REPORTS
from state.reports import reports_of
from state.running import Overrides, Trigger, Verb, act_on_run, begin_run, delete_run, hold_run
from state.tables import Operation

router = APIRouter(prefix="/api/v1", tags=["runs"], route_class=PlatformRoute)
FIELDS: Final[Mapping[str, Kind]] = {
    "name": "text",
    "status": statuses(RUN),
    "trigger": one_of(get_args(Trigger)),
    "kind": one_of(("batch", "script")),
    "number": "number",
    "created_at": "time",
    "started_at": "time",
    "completed_at": "time",
}
LIST = Listing({**FIELDS}, orders=("created_at", "number"))
ALL = Listing({"job": "text", **FIELDS})
HISTORY = Listing({})
SHOWN = {"model": RunShown}
ACCEPTED = {"model": OperationShown}
LONGEST_WAIT_S = 60
RunOf = Annotated[str, Path(description="Its number, `latest` or its id.")]
TimeoutS = Annotated[
    float, Query(alias="timeout", ge=0, le=LONGEST_WAIT_S, description="How long to wait, in seconds.")
]


class RunUnfinished(Conflict):
    """The run is still under way: nothing has come of it yet."""

    code, title = "run_unfinished", "The run has not ended"


@router.get("/runs", operation_id="list_all_runs", openapi_extra=ALL.parameters, responses={200: {"model": RunPage}})
async def list_all_runs(
    request: Request, context: ContextOf, session: Reading, who: WhoAsks, view: Annotated[View, Depends(ALL)]
) -> Response:
    """The runs of all the tenant's jobs, the newest first."""
    conditions = tuple(replace(each, field="job_name") if each.field == "job" else each for each in view.conditions)
    found = await runs.list_runs(session, who.tenant_id, replace(view, conditions=conditions))
    return await _listed(request, context, session, found)


@router.get("/runs/{run_id}", operation_id="get_run_by_id", responses={200: SHOWN})
async def get_run_by_id(request: Request, context: ContextOf, session: Reading, who: WhoAsks, run_id: str) -> Response:
    """One run, whatever its job is called."""
    row = await runs.owned_run(session, who.tenant_id, run_id)
    return answer(await _shown(session, row, links_for(request, context.settings)))


@router.get(
    "/jobs/{job}/runs", operation_id="list_runs", openapi_extra=LIST.parameters, responses={200: {"model": RunPage}}
)
async def list_runs(
    request: Request,
    context: ContextOf,
    session: Reading,
    who: WhoAsks,
    job: str,
    view: Annotated[View, Depends(LIST)],
) -> Response:
    """The runs of a job, the newest first."""
    row = await find_job(session, who.tenant_id, job)
    return await _listed(request, context, session, await runs.list_runs(session, who.tenant_id, view, row))


@router.post("/jobs/{job}:run", operation_id="run_job", status_code=202, responses={201: SHOWN, 202: ACCEPTED})
async def run_job(call: Calling, job: str, body: RunCreate | None = None) -> Response:
    """Run a job now, with what the body says otherwise. The operation goes on to the end of the run."""
    return await _begin(call, job, body or RunCreate())


@router.post("/jobs/{job}/runs", operation_id="create_run", status_code=202, responses={201: SHOWN, 202: ACCEPTED})
async def create_run(call: Calling, job: str, body: RunCreate | None = None) -> Response:
    """The same under the path of the list."""
    return await _begin(call, job, body or RunCreate())


@router.get("/jobs/{job}/runs/{run}", operation_id="get_run", responses={200: SHOWN})
async def get_run(
    request: Request, context: ContextOf, session: Reading, who: WhoAsks, job: str, run: RunOf
) -> Response:
    """One run: how it is, how far, what it made."""
    row = await _find(session, who, job, run)
    return answer(await _shown(session, row, links_for(request, context.settings)))


@router.get("/jobs/{job}/runs/{run}:wait", operation_id="wait_for_run", responses={200: SHOWN})
async def wait_for_run(
    request: Request, context: ContextOf, who: WhoAsks, job: str, run: RunOf, timeout_s: TimeoutS = 30
) -> Response:
    """The run when it has ended, or as it is when the time is over. Going away stops nothing."""
    async with context.database.read() as session:
        row = await _find(session, who, job, run)
    if row.status not in RUN.final:
        await context.waiters.wait_final(Run, row.id, RUN.final, timeout_s)
    async with context.database.read() as session:
        return answer(
            await _shown(session, await _find(session, who, job, row.id), links_for(request, context.settings))
        )


@router.post(
    "/jobs/{job}/runs/{run}:pause", operation_id="pause_run", status_code=202, responses={200: SHOWN, 202: ACCEPTED}
)
async def pause_run(call: Calling, job: str, run: RunOf) -> Response:
    """End its process and keep what it has done."""
    return await _act(call, job, run, "pause")


@router.post(
    "/jobs/{job}/runs/{run}:resume", operation_id="resume_run", status_code=202, responses={200: SHOWN, 202: ACCEPTED}
)
async def resume_run(call: Calling, job: str, run: RunOf) -> Response:
    """Let a paused run go on from what it has done. The operation goes on to the end of the run."""
    return await _act(call, job, run, "resume")


@router.post(
    "/jobs/{job}/runs/{run}:stop", operation_id="stop_run", status_code=202, responses={200: SHOWN, 202: ACCEPTED}
)
async def stop_run(call: Calling, job: str, run: RunOf) -> Response:
    """End a run for good; it makes no output."""
    return await _act(call, job, run, "stop")


@router.delete("/jobs/{job}/runs/{run}", operation_id="delete_run", status_code=204)
async def delete(call: Calling, job: str, run: RunOf) -> Response:
    """Forget a run that has ended; the datasets that it made stay."""

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_run(session, await _find(session, call.who, job, run))
        call.check_if_match(etag(row.edition))
        return Effect(await delete_run(session, call.who, row), row.id)

    return await call.mutate(work, show_nothing)


@router.get("/jobs/{job}/runs/{run}/result", operation_id="get_run_result", responses={200: {"model": ResultShown}})
async def get_run_result(
    request: Request, context: ContextOf, session: Reading, who: WhoAsks, job: str, run: RunOf
) -> Response:
    """What came of a run that has ended: the datasets that it made, with the links to their rows."""
    row = await _find(session, who, job, run)
    if row.status not in RUN.final:
        where = run_path(row)
        raise RunUnfinished(
            f"run {row.number} of job '{row.job_name}' is {row.status}; GET {where}:wait tells when it has ended",
            current_status=str(row.status),
        )
    facts = (await runs.describe_runs(session, [row]))[0]
    output, bad_rows = [await _dataset(session, id) for id in (row.output_id, row.bad_rows_id)]
    return JSONResponse(result_document(facts, output, bad_rows, links_for(request, context.settings)))


@router.get(
    "/jobs/{job}/runs/{run}/metrics", operation_id="get_run_metrics", responses={200: {"model": RunMetricsShown}}
)
async def get_run_metrics(
    session: Reading,
    who: WhoAsks,
    job: str,
    run: RunOf,
    after: Annotated[int, Query(ge=0, lt=2**53, description="Reports with a greater `sequence` only.")] = 0,
    limit: Annotated[int, Query(ge=1, le=SHOWN_REPORTS, description="How many reports at most.")] = SHOWN_REPORTS,
) -> Response:
    """A run in figures: rows and how many a second, seconds by stage, processor time and memory; and what a script
    reported of itself."""
    row = await _find(session, who, job, run)
    facts = (await runs.describe_runs(session, [row]))[0]
    return JSONResponse(run_metrics_document(facts, await reports_of(session, row.id, after, limit)))


@router.get(
    "/jobs/{job}/runs/{run}/logs",
    operation_id="read_run_logs",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def read_run_logs(
    request: Request,
    context: ContextOf,
    who: WhoAsks,
    job: str,
    run: RunOf,
    follow: Follow = False,
    tail_bytes: TailBytes = 1024 * 1024,
) -> Response:
    """What a run wrote; with `follow` as it is written, until it ends, is paused or the reader goes away."""
    async with context.database.read() as session:
        row = await _find(session, who, job, run)
    pieces = context.read_logs(row.id, follow, tail_bytes)
    first = await anext(pieces, b"")  # it comes at once; whoever has the log may be away, and that is no 200
    return live(request, context, with_first(first, pieces), "text/plain; charset=utf-8")


@router.get(
    "/jobs/{job}/runs/{run}/history",
    operation_id="list_run_history",
    openapi_extra=HISTORY.parameters,
    responses={200: {"model": HistoryPage}},
)
async def list_run_history(
    request: Request, session: Reading, who: WhoAsks, job: str, run: RunOf, view: Annotated[View, Depends(HISTORY)]
) -> Response:
    """Each change of its status: from, to, who, why, by which operation, when; the newest first."""
    found = await list_changes(session, (await _find(session, who, job, run)).id, view)
    return listed(request, found, [history_document(change) for change in found.rows])


@router.get("/jobs/{job}/runs/{run}/events", operation_id="stream_run_events", responses=EVENT_STREAM)
async def stream_run_events(request: Request, context: ContextOf, who: WhoAsks, job: str, run: RunOf) -> Response:
    """Its changes and its progress as server-sent events; ends with the run. `Last-Event-ID` resumes."""
    async with context.database.read() as session:
        row = await _find(session, who, job, run)
    links = links_for(request, context.settings)
    return event_stream(request, context, run_events(context, row.id, last_event_id(request), links))


async def _begin(call: Call, job: str, body: RunCreate) -> Response:
    patch = await sent_patch(call)
    text = await put_text(call, patch.get("script"))

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_job(session, call.who, job)
        call.check_if_match(etag(row.edition))
        check_may_run(call.who, row)
        spec = await changed_spec(session, call, row, patch, text) or row.spec
        # What it needs may have gone since the job was made: that is told now, not by a run that fails.
        await checked_needs(session, call.who, row.kind, spec)
        changes = {name: value for name, value in spec.items() if value != row.spec.get(name)}
        overrides = Overrides(body.name, changes, changed_environment(call, row, body))
        run, operation = await begin_run(session, call.who, row, "manual", overrides)
        return Effect(operation, run.id)

    return await call.mutate(work, _show(call, status=201))


async def _act(call: Call, job: str, run: str, verb: Verb) -> Response:
    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_run(session, await _find(session, call.who, job, run))
        call.check_if_match(etag(row.edition))
        if verb == "resume":
            check_may_run(call.who, row)
        return Effect(await act_on_run(session, call.who, row, verb), row.id)

    return await call.mutate(work, _show(call))


async def _find(session: Session, who: Who, job: str, run: str) -> Run:
    return await runs.find_run(session, await find_job(session, who.tenant_id, job), run)


async def _dataset(session: Session, dataset_id: str | None) -> Dataset | None:
    return None if dataset_id is None else await session.get(Dataset, dataset_id)


async def _listed(request: Request, context: Context, session: ReadSession, found: Page[Run]) -> Response:
    links = links_for(request, context.settings)
    facts = await runs.describe_runs(session, found.rows)
    return listed(request, found, [run_document(each, links) for each in facts])


async def _shown(session: ReadSession, row: Run, links: Links, status: int = 200) -> Shown:
    facts = (await runs.describe_runs(session, [row]))[0]
    where = links.to(run_path(row)) if status == 201 else None
    # No 304: how far it is changes without another edition of the run.
    return Shown(run_document(facts, links), status, where, etag(row.edition))


def _show(call: Call, status: int = 200) -> Show:
    async def show(session: ReadSession, run_id: str) -> Shown:
        return await _shown(session, await session.get_one(Run, run_id), call.links, status)

    return show
