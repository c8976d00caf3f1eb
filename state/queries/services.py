"""Services: what one is made of, as the workers and the API read it."""

from typing import Any

from sqlalchemy import select

from state.database import Session
from state.tables import Model, Revision, Service, Version

DEFAULT_CPU = 1.0


async def service_spec(session: Session, service_id: str, generation: int) -> dict[str, Any]:
    """The fields of a `ServiceSpec` for what is wanted of the service, under the operation's generation."""
    service = (await session.scalars(select(Service).where(Service.id == service_id))).one()
    return await _spec(session, service, service.revision_id, service.replicas, generation)


async def live_service_spec(session: Session, service_id: str, generation: int) -> dict[str, Any] | None:
    """The same for what was last ready, or nothing if it never was."""
    service = (await session.scalars(select(Service).where(Service.id == service_id))).one()
    if service.live_revision_id is None:
        return None
    replicas = service.live_replicas or service.replicas
    return await _spec(session, service, service.live_revision_id, replicas, generation)


async def _spec(
    session: Session, service: Service, revision_id: str | None, replicas: int, generation: int
) -> dict[str, Any]:
    query = (
        select(Revision, Version, Model)
        .join(Version, Version.id == Revision.version_id)
        .join(Model, Model.id == Revision.model_id)
        .where(Revision.id == revision_id)
    )
    revision, version, model = (await session.execute(query)).one()
    return {
        "service_id": service.id,
        "tenant_id": service.tenant_id,
        "service": service.name,
        "generation": generation,
        "revision_id": revision.id,
        "replicas": replicas,
        "model": model.name,
        "version": str(version.number),
        "digest": version.digest,
        "signature": version.signature,
        "cpu": revision.resources.get("cpu") or DEFAULT_CPU,
        "memory_mb": revision.resources.get("memory_mb"),
        "env_sealed": revision.env_sealed,
    }
