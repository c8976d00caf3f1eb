"""Jobs: what a request may say and how rows are shown."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, Field
from pydantic.config import JsonDict

from api.links import Links
from api.schemas.base import Body, Description, DisplayName, Instant, Name, Tags, one_of, shown_as
from api.schemas.batch_specs import (
    Args,
    BatchSpecBody,
    ChunkRows,
    Env,
    EnvChanges,
    FeedsPatch,
    FileName,
    InputBody,
    OnError,
    OutputPatch,
    Parallelism,
    Part,
    PassThrough,
    RetriesPatch,
    RunName,
    RunResourcesBody,
    TimeoutS,
    spec_document,
)
from api.schemas.quantities import ModelName, VersionName
from api.schemas.resource import about
from api.schemas.schedules import ScheduleBody, SchedulePatch, ScheduleShown, schedule_document
from api.schemas.services import Absent
from core.errors import Json
from state.queries.jobs import JobFacts

SCORE: Final[JsonDict] = {
    "model": "churn",
    "version": "@champion",
    "input": {"dataset": "customers"},
    "output": {"name": "churn-{date}", "format": "parquet"},
    "mapping": {"age": "customer_age"},
    "pass_through": ["customer_id"],
    "on_error": {"policy": "limit", "limit": 100},
    "parallelism": 2,
}
# In one place: a script is another kind, with a spec of its own.
Kind = Annotated[str, Field(pattern=one_of("batch"))]
After = Annotated[Name, Field(description="The job whose success starts a run of this one.")]


class JobCreate(BatchSpecBody):
    """A job: a version of a model scores every row of its input, each time that it is run."""

    model_config = shown_as(
        {"name": "flowers", "kind": "batch", "model": "iris", "input": {"dataset": "flowers"}},
        {"name": "churn-nightly", "kind": "batch", **SCORE, "retries": {"count": 3}, "env": {"REGION": "eu"}},
    )

    name: Name
    kind: Kind = "batch"
    env: Env | None = None
    after: After | None = None
    schedule: ScheduleBody | None = None
    display_name: DisplayName | None = None
    description: Description | None = None
    tags: Tags | None = None


class SpecChanges(Body):
    """What a job's spec may have otherwise: a merge patch (RFC 7396) of it."""

    version: VersionName | None = None
    part: Part | None = None
    input: InputBody | Absent = None
    output: OutputPatch | None = None
    mapping: FeedsPatch | None = None
    pass_through: PassThrough | None = None
    on_error: OnError | None = None
    chunk_rows: ChunkRows | None = None
    parallelism: Parallelism | None = None
    resources: RunResourcesBody | None = None
    args: Args | None = None
    file_name: FileName | None = None
    timeout_s: TimeoutS | None = None
    env: EnvChanges | None = None


class JobPatch(SpecChanges):
    """A merge patch (RFC 7396), also inside objects: null removes, or gives the default back.

    Runs that were begun stay as they are.
    """

    model_config = shown_as(
        {"version": "4"}, {"on_error": "skip", "retries": {"count": 2}, "env": {"REGION": None}, "after": "clean"}
    )

    model: ModelName | Absent = None
    run_name: RunName | None = None
    retries: RetriesPatch | None = None
    after: After | None = None
    schedule: SchedulePatch | None = None
    display_name: DisplayName | None = None
    description: Description | None = None
    tags: Tags | None = None


class RunCreate(SpecChanges):
    """What this run has otherwise than its job; nothing of it is kept for the next one."""

    model_config = shown_as({}, {"name": "backfill", "input": {"dataset": "january"}, "env": {"REGION": "us"}})

    name: RunName | None = None
    retries: RetriesPatch | None = None


class LastRunShown(BaseModel):
    """The run that was begun last."""

    number: int
    status: str
    url: str


class OutputShown(BaseModel):
    """The dataset that each run makes."""

    name: str
    format: str | None
    compression: str | None
    replace: bool


class OnErrorShown(BaseModel):
    """What becomes of rows that cannot be scored."""

    policy: str
    limit: int | None


class RunResourcesShown(BaseModel):
    """What each run may use."""

    cpu: float | None
    memory: str | None


class RetriesShown(BaseModel):
    """How often a failed run goes on, and after how many seconds."""

    count: int
    backoff_s: int


class SpecShown(BaseModel):
    """What a run of a batch goes by."""

    model: str
    version: str
    part: str | None
    input: dict[str, Any]
    output: OutputShown
    mapping: dict[str, Any] | None
    pass_through: list[str] | str
    on_error: OnErrorShown
    chunk_rows: int | None
    parallelism: int
    resources: RunResourcesShown
    args: list[str]
    file_name: str | None
    run_name: str | None
    retries: RetriesShown
    timeout_s: int | None


class JobShown(SpecShown):
    """A job: what its runs go by, the last of them, and how many are under way. Of `env` only the names are shown."""

    id: str
    name: str
    kind: str
    display_name: str | None
    description: str | None
    tags: list[str]
    status: str
    reason: str | None
    message: str | None
    since: Instant
    generation: int
    etag: str
    created_at: Instant
    updated_at: Instant
    env_names: list[str]
    after: str | None
    schedule: ScheduleShown | None
    last_run: LastRunShown | None
    live_runs: int
    url: str
    operation: str | None


class JobPage(BaseModel):
    """One page of jobs."""

    items: list[JobShown]
    next_page_token: str | None
    total: int | None = None


def job_document(facts: JobFacts, links: Links) -> dict[str, Json]:
    """The job object."""
    row = facts.row
    where = links.to(f"/api/v1/jobs/{row.name}")
    last = facts.last_run
    shown: dict[str, Json] | None = None
    if last is not None:
        shown = {"number": last.number, "status": last.status, "url": f"{where}/runs/{last.number}"}
    return {
        "id": row.id,
        "name": row.name,
        "kind": row.kind,
        **about(row),
        **spec_document(row.spec),
        "model": facts.model or row.spec["model"],
        "env_names": list(row.env_names),
        "after": facts.after,
        "schedule": schedule_document(row),
        "last_run": shown,
        "live_runs": facts.live_runs,
        "url": where,
        "operation": links.operation(facts.operation_id) if facts.operation_id else None,
    }
