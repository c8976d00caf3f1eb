"""Deletes a model together with the services that use it: all is asked for in one transaction, nothing half.

Each service ends through its own operation; a version follows when no service needs it any more, and the model when its
versions are gone. From the first commit on nobody can deploy any of them, so nothing new can come to depend on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select

from core.errors import InUse, NotFound
from state.advance import advance
from state.cataloguing import check_unused, delete_model, remove_version
from state.database import Session, WriteSession
from state.deploying import act
from state.history import By
from state.operations import Who, submit, supersede, unfinished
from state.queries.models import forget_aliases, users_of_model
from state.queries.versions import living_versions
from state.tables import Model, Operation, Revision, Service, Version
from state.worktables import OPERATIONS


@dataclass(frozen=True, slots=True)
class Deletion:
    """What goes with a model: the names of services, and how many versions."""

    services: Sequence[str]
    versions: int


async def plan_deletion(session: Session, model: Model, *, with_services: bool) -> Deletion:
    """What deleting the model would take along. Raises `InUse`, `NotFound` as deleting it would."""
    if model.status != "active":
        raise NotFound(f"model '{model.name}' is being deleted")
    services = await users_of_model(session, model.id)
    if not with_services:
        check_unused(model, services)
    alive = select(func.count()).where(Version.model_id == model.id, Version.status != "deleted")
    return Deletion(services, (await session.execute(alive)).scalar_one())


async def delete_with_services(session: WriteSession, who: Who, model: Model) -> Operation:
    """Delete a locked model, its versions and the services that use one. What is being deleted already is waited for.

    Raises `InUse` for a service that was deployed at this very moment.
    """
    services = await _hold_users(session, model)
    if not services:
        return await delete_model(session, who, model)
    living = await living_versions(session, model.id)  # who deploys one of them holds it until it is seen to use it
    late = set(await users_of_model(session, model.id)) - {service.name for service in services}
    if late:
        names = ", ".join(f"'{name}'" for name in sorted(late)[:5])
        raise InUse(f"model '{model.name}' was deployed at this very moment, as {names}; delete it again")
    ends = [{"name": each.name, "operation": await _end(session, who, each)} for each in services]
    operation = await submit(session, who, "model.delete", model)
    names = ", ".join(service.name for service in services)
    operation.progress = {"percent": 0, "stage": "deleting", "detail": f"with the services {names}"}
    by = By(who.actor, operation_id=operation.id)
    used = await _used_versions(session, model)
    waiting = []
    for version in living:
        if version.id in used:
            later = await _end_later(session, who, model, version)
            waiting.append({"version": str(version.number), "operation": later.id})
        else:
            await remove_version(session, version, operation, by)
    operation.arguments = {"services": ends, "versions": waiting}
    await advance(session, model, "delete", by)
    return operation


async def _hold_users(session: WriteSession, model: Model) -> Sequence[Service]:
    """The services that use the model, locked, and what is under way on them: services before versions, and before
    the routing version, which everybody writes, as every other writer does."""
    names = await users_of_model(session, model.id)
    if not names:
        return ()
    wanted = (Service.tenant_id == model.tenant_id, Service.name.in_(names), Service.status != "deleted")
    query = select(Service).where(*wanted).order_by(Service.id).with_for_update(key_share=True)
    held = list(await session.scalars(query.execution_options(populate_existing=True)))
    under_way = (
        Operation.target_id.in_([service.id for service in held]),
        Operation.status.in_([OPERATIONS.waiting, OPERATIONS.working]),
    )
    await session.execute(select(Operation.id).where(*under_way).order_by(Operation.id).with_for_update(key_share=True))
    still = set(await users_of_model(session, model.id))
    return [service for service in held if service.name in still]


async def _end(session: WriteSession, who: Who, service: Service) -> str | None:
    """The id of the operation that deletes a locked service."""
    if service.status != "deleting":
        return (await act(session, who, service, "delete")).id
    under_way = await unfinished(session, service.id)
    return under_way[0].id if under_way else None


async def _used_versions(session: Session, model: Model) -> set[str]:
    either = or_(Revision.id == Service.revision_id, Revision.id == Service.live_revision_id)
    query = select(Revision.version_id).join(Service, either)
    return set(await session.scalars(query.where(Revision.model_id == model.id, Service.status != "deleted")))


async def _end_later(session: WriteSession, who: Who, model: Model, version: Version) -> Operation:
    """Nobody can deploy the locked version from now on; its operation waits until no service needs it."""
    older = await unfinished(session, version.id)
    operation = await submit(session, who, "version.delete", version, model=model.name)
    by = By(who.actor, operation_id=operation.id)
    await supersede(session, older, operation, by)
    await advance(session, version, "delete", by)
    await forget_aliases(session, version.id)
    return operation
