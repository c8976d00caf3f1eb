"""Services that follow a reference, and those for which it means another version by now."""

from collections.abc import Sequence

from sqlalchemy import case, func, select

from state.database import Session, WriteSession
from state.references import LATEST
from state.tables import FOLLOWING, Alias, Model, Revision, Service, Version

AT_ONCE = 50  # of one look


async def behind(session: Session, service_id: str | None = None) -> list[str]:
    """The services whose reference means a ready version that they were not given yet; all (the first), or one."""
    ready = Version.status == "ready"
    newest = select(Version.id).where(Version.model_id == Revision.model_id, ready).order_by(Version.number.desc())
    named = (
        select(Alias.version_id)
        .join(Version, Version.id == Alias.version_id)
        .where(Alias.model_id == Revision.model_id, Alias.name == func.substr(Service.version_ref, 2), ready)
    )
    means = case(
        (Service.version_ref == LATEST, newest.limit(1).correlate(Revision).scalar_subquery()),
        else_=named.correlate(Revision, Service).scalar_subquery(),
    )
    query = select(Service.id).join(Revision, Revision.id == Service.revision_id)
    # A failed update is not tried again: what the service was given last is not what it runs.
    query = query.where(FOLLOWING, Service.status != "deleting", means.is_not(None), means != Service.followed_id)
    if service_id is not None:
        query = query.where(Service.id == service_id)
    return list(await session.scalars(query.order_by(Service.id).limit(AT_ONCE)))


async def hold_followers(session: WriteSession, model: Model, reference: str, limit: int) -> Sequence[Service]:
    """At most so many services that follow this reference to the model, locked."""
    query = (
        select(Service)
        .join(Revision, Revision.id == Service.revision_id)
        .where(FOLLOWING, Service.version_ref == reference, Revision.model_id == model.id)
        .order_by(Service.id)
        .limit(limit)
        .with_for_update(of=Service)
    )
    return list(await session.scalars(query))
