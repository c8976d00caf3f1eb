"""Jobs: what a request may say and how rows are shown."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Discriminator, Field, Tag
from pydantic.config import JsonDict

from api.links import Links
from api.schemas.base import Answer, Body, Description, DisplayName, Instant, Name, Tags, one_of, shown_as
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
from api.schemas.script_specs import ScriptSpecBody, script_document
from api.schemas.services import Absent
from api.validation import TAG
from core.errors import Json
from state.queries.jobs import JobFacts
from state.running import RunSpec

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
Kind = Annotated[str, Field(pattern=one_of("batch"))]
ScriptKind = Annotated[str, Field(pattern=one_of("script"))]
PartOfScript = Annotated[
    dict[str, Any], Field(description="Of a script: a merge patch (RFC 7396) of what its job has under this name.")
]
LEFT_OUT: Any = Field(description="Null in a list, too.")
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


class ScriptJobCreate(ScriptSpecBody):
    """A job: a Python script of yours runs in an environment and under limits of its own, each time that it is run."""

    model_config = shown_as(
        {"name": "hello", "kind": "script", "script": {"source": "print('hello')"}},
        {
            "name": "train-churn",
            "kind": "script",
            "script": {"file": "file_01j", "entry": "train.py", "requirements": ["scikit-learn==1.7.2"]},
            "inputs": {"datasets": {"train": "customers"}},
            "outputs": {"model.onnx": {"register": {"model": "churn", "alias": "candidate"}}},
            "resources": {"memory": "2Gi"},
        },
    )

    name: Name
    kind: ScriptKind
    env: Env | None = None
    after: After | None = None
    schedule: ScheduleBody | None = None
    display_name: DisplayName | None = None
    description: Description | None = None
    tags: Tags | None = None


def _kind_of(given: object) -> str:
    kind = given.get("kind") if isinstance(given, Mapping) else getattr(given, "kind", None)
    return KIND_SCRIPT if kind == "script" else KIND_BATCH


# What says the kind stands in no pointer: `api.validation` leaves it out.
KIND_BATCH, KIND_SCRIPT = f"{TAG}batch", f"{TAG}script"
AnyJobCreate = Annotated[
    Annotated[JobCreate, Tag(KIND_BATCH)] | Annotated[ScriptJobCreate, Tag(KIND_SCRIPT)], Discriminator(_kind_of)
]


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
    script: PartOfScript | Absent = None
    inputs: PartOfScript | None = None
    outputs: PartOfScript | None = None


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


class LastRunShown(Answer):
    """The run that was begun last."""

    number: int
    status: str
    url: str


class OutputWish(Answer):
    """The dataset that each run makes."""

    name: str
    format: str | None
    compression: str | None
    replace: bool


class OnErrorShown(Answer):
    """What becomes of rows that cannot be scored."""

    policy: str
    limit: int | None


class RunResourcesShown(Answer):
    """What each run may use."""

    cpu: float | None
    memory: str | None


class RetriesShown(Answer):
    """How often a failed run goes on, and after how many seconds."""

    count: int
    backoff_s: int


class ScriptShown(Answer):
    """A script: its bytes by their digest (`GET …/jobs/{job}/script` has them), what is started, what is installed."""

    digest: str
    entry: str
    requirements: str | None = LEFT_OUT
    python: str | None


class ScriptInputsShown(Answer):
    """What a script reads, by its names."""

    datasets: dict[str, str]
    models: dict[str, str]


class SpecShown(Answer):
    """What a run of a batch goes by, or one of a script: what the other kind has is null, and in a list what may be
    large."""

    model: str | None
    version: str | None
    part: str | None
    input: dict[str, Any] | None
    output: OutputWish | None
    mapping: dict[str, Any] | None = LEFT_OUT
    pass_through: list[str] | str | None = LEFT_OUT
    on_error: OnErrorShown | None
    chunk_rows: int | None
    parallelism: int | None
    script: ScriptShown | None
    inputs: ScriptInputsShown | None
    outputs: dict[str, dict[str, Any]] | None = LEFT_OUT
    resources: RunResourcesShown
    args: list[str] | None = LEFT_OUT
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


class JobPage(Answer):
    """One page of jobs."""

    items: list[JobShown]
    next_page_token: str | None
    total: int | None = None


def shown_spec(stored: RunSpec) -> dict[str, Json]:
    """The spec of a batch or of a script as it is shown."""
    document = script_document(stored) if "script" in stored else spec_document(stored)
    return {**dict.fromkeys(SpecShown.model_fields), **document}


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
        **shown_spec(row.spec),
        "model": facts.model or row.spec.get("model"),
        "env_names": list(row.env_names),
        "after": facts.after,
        "schedule": schedule_document(row),
        "last_run": shown,
        "live_runs": facts.live_runs,
        "url": where,
        "operation": links.operation(facts.operation_id) if facts.operation_id else None,
    }
