"""What scripts report while they run and leave at their end: figures, progress, files; live over a WebSocket."""

from pathlib import PurePosixPath
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, WebSocket
from starlette.responses import JSONResponse

from api.dependencies import Context, ContextOf, Reading, WhoAsks
from api.downloads import BYTES, attachment, send_blob
from api.file_pages import after_of, token_after
from api.links import links_for
from api.mutations import Calling
from api.routes.runs import RunOf
from api.routing import PlatformRoute
from api.run_socket import serve_socket
from api.schemas.run_reports import ArtifactList, KeptShown, ReportCreate, artifact_document
from core.errors import FieldProblem, Forbidden, InvalidField
from state.artifacts import files_of_run, find_output
from state.jobtables import Run
from state.operations import Who
from state.queries import runs
from state.queries.jobs import find_job
from state.reports import NoReport, Report, add_reports, note_far, reported

router = APIRouter(prefix="/api/v1", tags=["runs"], route_class=PlatformRoute)
RUN = "/jobs/{job}/runs/{run}"


class NotYourRun(Forbidden):
    """A script reports for its own run alone."""

    code, title = "not_your_run", "This is another run"


@router.post(f"{RUN}/reports", operation_id="create_report", responses={200: {"model": KeptShown}})
async def create_report(call: Calling, job: str, run: RunOf, body: ReportCreate) -> Response:
    """Report figures of a running script, or how far it is; `portside.run` does it with one line."""
    call.refuse_condition()
    context, who = call.context, call.who
    row = await _find(context, who, job, run)
    if who.run_id is not None and who.run_id != row.id:
        raise NotYourRun(f"the token is that of another run; only run {row.number} of '{row.job_name}' reports here")
    try:
        report = reported(body.model_dump(exclude_none=True))
    except NoReport as error:
        raise InvalidField(f"the report cannot be kept: {error}", fields=[FieldProblem("", str(error))]) from error
    async with context.database.write() as session:
        if isinstance(report, Report):
            kept = await add_reports(session, row.id, [report])
        else:
            await note_far(session, row.id, report.as_progress())
            kept = 1
    return JSONResponse({"kept": kept})


@router.get(f"{RUN}/artifacts", operation_id="list_run_artifacts", responses={200: {"model": ArtifactList}})
async def list_artifacts(
    request: Request,
    context: ContextOf,
    session: Reading,
    who: WhoAsks,
    job: str,
    run: RunOf,
    prefix: Annotated[str, Query(max_length=500, description="Only those whose paths begin so.")] = "",
    page_size: Annotated[int, Query(ge=1, le=500, description="How many items at most.")] = 50,
    page_token: Annotated[str | None, Query(description="`next_page_token` of the page before.")] = None,
) -> Response:
    """The files that the script left, in the order of their paths."""
    row = await runs.find_run(session, await find_job(session, who.tenant_id, job), run)
    after = "" if page_token is None else after_of(page_token, row.id, prefix)
    found = await files_of_run(session, row.id, "output", after=after, prefix=prefix, limit=page_size + 1)
    shown, links = found[:page_size], links_for(request, context.settings)
    token = token_after(shown[-1].path, row.id, prefix) if len(found) > page_size else None
    return JSONResponse({"items": [artifact_document(each, row, links) for each in shown], "next_page_token": token})


@router.get(
    f"{RUN}/artifacts/{{path:path}}",
    operation_id="download_run_artifact",
    responses={200: {"content": BYTES}, 206: {"description": "The range asked for.", "content": BYTES}},
)
async def download_artifact(
    request: Request, context: ContextOf, who: WhoAsks, job: str, run: RunOf, path: str
) -> Response:
    """One file as the script left it; `Range` is understood, the ETag is its digest."""
    async with context.database.read() as session:
        row = await runs.find_run(session, await find_job(session, who.tenant_id, job), run)
        file = await find_output(session, row, path)
    name = PurePosixPath(file.path).name
    plain = f"artifact{PurePosixPath(name).suffix if name.isascii() else ''}".replace('"', "")
    return await send_blob(request, context, file.digest, attachment(plain, name))


async def stream(websocket: WebSocket, job: str, run: str) -> None:
    """The run's events as JSON messages `{"type", "data"}`, until it ends or the reader goes away."""

    async def find(context: Context, who: Who) -> Run:
        return await _find(context, who, job, run)

    await serve_socket(websocket, find)


router.add_api_websocket_route(f"{RUN}/stream", stream)


async def _find(context: Context, who: Who, job: str, run: str) -> Run:
    async with context.database.read() as session:
        return await runs.find_run(session, await find_job(session, who.tenant_id, job), run)
