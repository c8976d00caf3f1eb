"""What a target is asked to run: read from the rows of a service, written into a placement."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from state.database import Session
from state.features import with_features
from state.tables import Model, Revision, Service, Version

DEFAULT_CPU = 1.0


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """Everything a target needs to run one revision of a service. `memory_mb` is per replica; `cpu` in cores."""

    service_id: str
    tenant_id: str
    service: str
    generation: int
    revision_id: str
    replicas: int
    model: str
    version: str
    digest: str
    signature: Mapping[str, Any]
    cpu: float
    memory_mb: int | None
    env_sealed: str | None
    config_sealed: str | None = None
    runtime: Mapping[str, str] | None = None  # what is pinned of the engine and its Python
    gpu: int = 0
    fresh_since: int = 0  # replicas made before this instant (microseconds) are replaced
    replacing: str | None = None  # and this one


async def wanted_spec(session: Session, service_id: str, generation: int) -> ServiceSpec:
    """What is wanted of the service, under the operation's generation."""
    service = (await session.scalars(select(Service).where(Service.id == service_id))).one()
    return await _spec(session, service, service.revision_id, service.replicas, generation)


async def live_spec(session: Session, service_id: str, generation: int) -> ServiceSpec | None:
    """What was last ready, or nothing if it never was."""
    service = (await session.scalars(select(Service).where(Service.id == service_id))).one()
    if service.live_revision_id is None:
        return None
    replicas = service.live_replicas or service.replicas
    return await _spec(session, service, service.live_revision_id, replicas, generation)


async def _spec(
    session: Session, service: Service, revision_id: str | None, replicas: int, generation: int
) -> ServiceSpec:
    query = (
        select(Revision, Version, Model)
        .join(Version, Version.id == Revision.version_id)
        .join(Model, Model.id == Revision.model_id)
        .where(Revision.id == revision_id)
    )
    revision, version, model = (await session.execute(query)).one()
    return ServiceSpec(
        service_id=service.id,
        tenant_id=service.tenant_id,
        service=service.name,
        generation=generation,
        revision_id=revision.id,
        replicas=replicas,
        model=model.name,
        version=str(version.number),
        digest=version.digest,
        signature=with_features(version.signature or {}, version.features),
        cpu=revision.resources.get("cpu") or DEFAULT_CPU,
        memory_mb=revision.resources.get("memory_mb"),
        gpu=int(revision.resources.get("gpu") or 0),
        env_sealed=revision.env_sealed,
        config_sealed=revision.config_sealed,
        runtime=revision.runtime,
    )
