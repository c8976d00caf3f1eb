"""Services: what a request may say and how rows are shown."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema

from api.links import Links
from api.schemas.base import Answer, Body, Description, DisplayName, Instant, Name, Tags, at_most, shown_as, told
from api.schemas.config_files import FILE_PATHS, FILES
from api.schemas.environment import ENV_NAME, MOST_ENV
from api.schemas.later import Later
from api.schemas.quantities import Cpu, Gpu, Lifetime, MemoryMb, ModelName, Port, Replicas, VersionName
from api.schemas.resource import about
from core.errors import Json
from state.documents import instant
from state.queries.services import RevisionFacts, ServiceFacts
from state.specs import DEFAULT_CPU
from state.tables import Replica

MOST_REVISIONS: Final = 2**31 - 1  # what the column holds
Follow = Annotated[
    bool, Field(description="Update the service when `version`, `latest` or an `@alias`, means another one.")
]
Absent = SkipJsonSchema[None]  # what cannot be removed: null is refused with a sentence
RuntimePart = Annotated[str | None, Field(min_length=1, max_length=40)]
FEW: Final = at_most(MOST_ENV, f"at most {MOST_ENV} variables with 256 KiB of values together")
ENV_NAMES: Final = told(propertyNames={"pattern": f"^{ENV_NAME.pattern}$", "maxLength": 200}, maxProperties=MOST_ENV)

CHURN: Final[JsonDict] = {
    "model": "churn",
    "version": "@champion",
    "replicas": 2,
    "resources": {"cpu": "500m", "memory": "512Mi"},
    "env": {"THRESHOLD": "0.8"},
}


class ResourcesBody(Body):
    """What each replica may use; without `cpu` one core, without `memory` no limit."""

    cpu: Cpu = None
    memory: MemoryMb = None
    gpu: Gpu = None


class RuntimeBody(Body):
    """What is pinned of the runtime, out of `/runtimes`: `1.31` is any 1.31.x; what is left out is as it comes."""

    engine: RuntimePart = None
    engine_version: RuntimePart = None
    python: RuntimePart = None


class ServiceSpecBody(Body):
    """All that is wanted of a service but its name."""

    model: ModelName
    version: VersionName = "latest"
    replicas: Replicas = 1
    resources: ResourcesBody | None = None
    env: Annotated[Annotated[dict[str, str], ENV_NAMES] | None, FEW] = None
    display_name: DisplayName | None = None
    description: Description | None = None
    tags: Tags | None = None
    runtime: RuntimeBody | None = None
    config_files: Annotated[Annotated[dict[str, str], FILE_PATHS] | None, FILES] = None
    autoscaling: Later = None
    follow: Follow = False
    expires_after: Lifetime = None
    port: Port = None


class ServiceCreate(ServiceSpecBody):
    """A service that runs one version of a model."""

    model_config = shown_as(
        {"name": "iris", "model": "iris"},
        {"name": "churn", **CHURN, "display_name": "Customer churn", "tags": ["marketing"]},
    )

    name: Name


class ServicePut(ServiceSpecBody):
    """The same for the name in the path: what is left out gets its default."""

    model_config = shown_as(CHURN)

    name: Name | None = None


class ServicePatch(Body):
    """A merge patch (RFC 7396), also inside `resources`, `runtime`, `env` and `config_files`.

    null removes, or gives the default back.
    """

    model_config = shown_as(
        {"version": "4"}, {"replicas": 3, "resources": {"memory": "1Gi"}, "env": {"THRESHOLD": "0.7", "OLD": None}}
    )

    model: ModelName | Absent = None
    version: VersionName | Absent = None
    replicas: Replicas | None = None
    resources: ResourcesBody | None = None
    env: Annotated[Annotated[dict[str, str | None], ENV_NAMES] | None, FEW] = None
    display_name: DisplayName | None = None
    description: Description | None = None
    tags: Tags | None = None
    runtime: RuntimeBody | None = None
    config_files: Annotated[Annotated[dict[str, str | None], FILE_PATHS] | None, FILES] = None
    autoscaling: Later = None
    follow: Follow | None = None
    expires_after: Lifetime = None
    port: Port = None


class RollbackBody(Body):
    """Which revision to go back to; without one, what ran before."""

    model_config = shown_as({"revision": 3})

    revision: Annotated[int, Field(ge=1, le=MOST_REVISIONS, description="A number in `/revisions`.")] | None = None


class ResourcesShown(Answer):
    """What each replica may use."""

    cpu: float
    memory: str | None
    gpu: int


class RevisionShown(Answer):
    """One immutable deployment spec; of `env` and `config_files` only names are shown, and sizes in bytes."""

    id: str
    number: int
    model: str
    version: str
    resources: ResourcesShown
    runtime: RuntimeBody | None
    env_names: list[str]
    config_file_names: dict[str, int]
    created_at: Instant


class RevisionPage(Answer):
    """One page of revisions."""

    items: list[RevisionShown]
    next_page_token: str | None
    total: int | None = None


class PortShown(Answer):
    """The port that a service has for itself; `fault` says why it is not open."""

    number: int
    url: str
    fault: str | None


class ServiceShown(Answer):
    """A service: what is wanted of it, what is live, and how it is. `url` takes predictions.

    `runtime` is what is pinned, `runs_on` what the node has for it.
    """

    id: str
    name: str
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
    model: str | None
    version: str | None
    revision: int | None
    live: RevisionShown | None
    replicas: int
    ready_replicas: int
    resources: ResourcesShown | None
    runtime: RuntimeBody | None
    runs_on: RuntimeBody | None
    env_names: list[str]
    config_file_names: dict[str, int]
    expires_at: Instant | None
    follow: bool
    version_ref: str | None = Field(description="What it follows: `latest` or an `@alias`.")
    url: str
    address: str
    port: PortShown | None
    operation: str | None


class SnippetsShown(Answer):
    """Code that asks a service with its own sample."""

    curl: str
    python: str
    javascript: str


class ServicePage(Answer):
    """One page of services."""

    items: list[ServiceShown]
    next_page_token: str | None
    total: int | None = None


class ReplicaShown(Answer):
    """One model server of a service."""

    id: str
    status: str
    reason: str | None
    message: str | None
    since: Instant
    generation: int
    revision: str
    pid: int | None
    address: str | None = Field(description="Where it listens, for the operator; null for others and once it ended.")
    created_at: Instant
    ended_at: Instant | None
    logs: str


class ReplicaPage(Answer):
    """One page of replicas."""

    items: list[ReplicaShown]
    next_page_token: str | None
    total: int | None = None


def predict_url(links: Links, name: str) -> str:
    """Where a service takes predictions."""
    return links.to(f"/api/v1/services/{name}/predict")


def resources_document(stored: Mapping[str, float]) -> dict[str, Json]:
    """Resources with the defaults that apply."""
    memory_mb = stored.get("memory_mb")
    return {
        "cpu": stored.get("cpu") or DEFAULT_CPU,
        "memory": None if memory_mb is None else f"{int(memory_mb)}Mi",
        "gpu": int(stored.get("gpu") or 0),
    }


def revision_document(facts: RevisionFacts) -> dict[str, Json]:
    """The revision object."""
    return {
        "id": facts.id,
        "number": facts.number,
        "model": facts.model,
        "version": str(facts.version),
        "resources": resources_document(facts.resources),
        "runtime": dict(facts.runtime) if facts.runtime else None,
        "env_names": list(facts.env_names),
        "config_file_names": dict(facts.config_names),
        "created_at": instant(facts.created_at),
    }


def service_document(facts: ServiceFacts, links: Links, fault: Callable[[int], str | None]) -> dict[str, Json]:
    """The service object; `fault` says of a port why it is not open."""
    row, wanted = facts.row, facts.wanted
    running: dict[str, Any] = revision_document(wanted) if wanted else {}
    return {
        "id": row.id,
        "name": row.name,
        **about(row),
        "model": running.get("model"),
        "version": running.get("version"),
        "revision": running.get("number"),
        "live": revision_document(facts.live) if facts.live else None,
        "replicas": row.replicas,
        "ready_replicas": facts.ready_replicas,
        "resources": running.get("resources"),
        "runtime": running.get("runtime"),
        "runs_on": {part: facts.runs_on[part] for part in RuntimeBody.model_fields} if facts.runs_on else None,
        "env_names": running.get("env_names", []),
        "config_file_names": running.get("config_file_names", {}),
        "expires_at": instant(row.expires_at),
        "follow": row.version_ref is not None,
        "version_ref": row.version_ref,
        "url": predict_url(links, row.name),
        "address": links.to(f"/v2/models/{row.name}"),
        "port": None if row.port is None else _port_document(row.port, links, fault(row.port)),
        "operation": links.operation(facts.operation_id) if facts.operation_id else None,
    }


def _port_document(port: int, links: Links, fault: str | None) -> dict[str, Json]:
    return {"number": port, "url": links.at_port(port), "fault": fault}


def replica_documents(
    rows: Sequence[Replica], service: str, links: Links, *, with_address: bool
) -> list[dict[str, Json]]:
    """The replica objects; where they listen is nobody's business but the gateway's and the operator's."""
    return [
        {
            "id": row.id,
            "status": str(row.status),
            "reason": row.reason,
            "message": row.message,
            "since": instant(row.since),
            "generation": row.generation,
            "revision": row.revision_id,
            "pid": row.pid,
            "address": row.address if with_address and row.ended_at is None else None,
            "created_at": instant(row.created_at),
            "ended_at": instant(row.ended_at),
            "logs": links.to(f"/api/v1/services/{service}/replicas/{row.id}/logs"),
        }
        for row in rows
    ]
