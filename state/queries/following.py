"""Services that follow a reference, and those for which it means another version by now."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Select, case, exists, func, select
from sqlalchemy.orm import aliased

from state.database import Session, WriteSession
from state.references import LATEST
from state.tables import FOLLOWING, Alias, Model, Operation, Revision, Service, Version
from state.worktables import OPERATIONS

AT_ONCE = 50  # of one look


@dataclass(frozen=True, slots=True)
class Late:
    """A service, and the version that its reference means and that it was not given yet."""

    service_id: str
    version_id: str


async def behind(session: Session, service_id: str | None = None) -> list[Late]:
    """The services whose reference means a ready version that they were not given yet; all (the first), or one.

    A reference is one to the model of the version that was given last. A service that was taken back to another model
    (a failed change of its model, a rollback) stays there until somebody says what it shall follow.
    """
    query = _behind() if service_id is None else _behind().where(Service.id == service_id)
    return [Late(*row) for row in await session.execute(query)]


@cache
def _behind() -> Select[*tuple[Any, ...]]:
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
    given = aliased(Version)
    of_another = exists().where(given.id == Service.followed_id, given.model_id != Revision.model_id)
    query = select(Service.id, means).join(Revision, Revision.id == Service.revision_id).where(~of_another)
    # A failed update is not tried again: what the service was given last is not what it runs.
    query = query.where(FOLLOWING, Service.status != "deleting", means.is_not(None), means != Service.followed_id)
    return query.order_by(Service.id).limit(AT_ONCE)


async def hold_followers(session: WriteSession, model: Model, reference: str, limit: int) -> Sequence[Service]:
    """At most so many services that follow this reference to the model, locked, and what is under way on them.

    A change also raises the routing version, which everybody writes; who claims holds operations while it waits for it.
    """
    follow = (FOLLOWING, Service.version_ref == reference)
    found = (
        select(Service.id)
        .join(Revision, Revision.id == Service.revision_id)
        .where(*follow, Revision.model_id == model.id)
        .order_by(Service.id)
        .limit(limit)
    )
    # By their ids: PostgreSQL leaves out of a locking join what got another revision while it was waited for.
    query = select(Service).where(*follow, Service.id.in_(list(await session.scalars(found)))).order_by(Service.id)
    query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    held = list(await session.scalars(query))
    unfinished = (
        Operation.target_id.in_([service.id for service in held]),
        Operation.status.in_([OPERATIONS.waiting, OPERATIONS.working]),
    )
    await session.execute(
        select(Operation.id).where(*unfinished).order_by(Operation.id).with_for_update(key_share=True)
    )
    return held
