"""Generated scripts: a batch as a Python file of its own, of a job or before there is one."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Query, Request, Response

from api.batch_scripts import Wanted, script_of
from api.dependencies import Context, ContextOf, Reading, WhoAsks
from api.downloads import attachment, send_blob
from api.links import links_for
from api.mutations import Calling
from api.routing import PlatformRoute
from api.schemas.batch_specs import BatchSpecBody, InputBody, stored_spec
from api.schemas.scripts import Against, ScriptCreate
from api.scripts.plan import Against as Either
from state.database import ReadSession
from state.jobs import read_needs
from state.operations import Who
from state.queries.jobs import find_job
from state.queries.models import users_of_version
from state.running import RunSpec

router = APIRouter(prefix="/api/v1", route_class=PlatformRoute)
PYTHON: Final = "text/x-python; charset=utf-8"
SCRIPT: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"text/x-python": {"schema": {"type": "string"}}}}}
AgainstAsked = Annotated[Against | None, Query()]
ServiceAsked = Annotated[
    str | None, Query(max_length=48, description="Of a script against the API: the service that it asks.")
]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which script: of whose batch, what it is saved as, whom it asks."""

    name: str
    file_name: str
    spec: RunSpec
    against: str | None
    service: str | None


@router.get("/jobs/{job}/script", operation_id="get_job_script", tags=["jobs"], responses=SCRIPT)
async def get_job_script(
    request: Request,
    context: ContextOf,
    session: Reading,
    who: WhoAsks,
    job: str,
    against: AgainstAsked = None,
    service: ServiceAsked = None,
) -> Response:
    """What a run of this job does as a script, which needs only the model's file, or a service of the platform; a job
    that runs a script gives that script, or its archive."""
    row = await find_job(session, who.tenant_id, job)
    if row.kind == "script":
        kept = row.spec["script"]
        return await send_blob(request, context, kept["digest"], attachment(row.name, kept["name"]))
    name = row.spec["file_name"] or f"{row.name}.py"
    return await _script(request, context, session, who, Asked(row.name, name, row.spec, against, service))


@router.post(
    "/models/{model}/versions/{version}:script",
    operation_id="render_script",
    tags=["versions"],
    responses=SCRIPT,
)
async def render_script(
    call: Calling, session: Reading, model: str, version: str, body: ScriptCreate | None = None
) -> Response:
    """The same for a version, before there is any job. It changes nothing."""
    call.refuse_condition()
    asked = body or ScriptCreate()
    spec = _spec(asked, model, version)
    wanted = Asked(model, asked.file_name or f"{model}.py", spec, asked.against, asked.service)
    return await _script(call.request, call.context, session, call.who, wanted)


def _spec(asked: ScriptCreate, model: str, version: str) -> RunSpec:
    """The batch that the script does; without an input it reads a file that its caller names."""
    body = BatchSpecBody.model_construct(
        model=model,
        version=version,
        part=asked.part,
        input=asked.input or InputBody(uri="input.csv"),
        output=asked.output,
        mapping=asked.mapping,
        pass_through=asked.pass_through,
        on_error=asked.on_error,
        chunk_rows=asked.chunk_rows,
        parallelism=1,
        resources=None,
        args=asked.args,
        file_name=asked.file_name,
        run_name=None,
        retries=None,
        timeout_s=None,
    )
    return stored_spec(body)


async def _script(request: Request, context: Context, session: ReadSession, who: Who, asked: Asked) -> Response:
    needs = await read_needs(session, who.tenant_id, asked.spec)
    services = await users_of_version(session, needs.version.id)
    service = asked.service or next(iter(services), needs.model.name)
    base = links_for(request, context.settings).base
    wanted = Wanted(asked.name, asked.spec, needs, cast("Either | None", asked.against), service, base)
    return Response(
        script_of(wanted),
        media_type=PYTHON,
        headers={"Content-Disposition": attachment(f"{asked.name}.py", asked.file_name)},
    )
