"""Deletes a model together with the services that use it: all is asked for in one transaction, nothing half.

Each service ends through its own operation; a version follows when no service needs it any more, and the model when its
versions are gone. From the first commit on nobody can deploy any of them, so nothing new can come to depend on them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from core.errors import Conflict, InUse, NotFound
from state.advance import advance
from state.cataloguing import check_no_jobs, check_unused, delete_model, remove_version
from state.database import Session, WriteSession
from state.deploying import act
from state.history import By
from state.operations import Who, submit, supersede, unfinished
from state.queries.models import forget_aliases, users_of_model
from state.queries.versions import living_versions, used_versions
from state.releases import check_all_know
from state.tables import Model, Operation, Service, Version
from state.worktables import OPERATIONS

KNOWN_SINCE = "0014"  # an older release has no work of these kinds: one queued operation would stop its lane
MOST_SERVICES = 50  # of one transaction: 0.8 s under SQLite's one writer, well within a lease


class TooManyServices(Conflict):
    """More services use the model than one transaction can begin to delete while others wait."""

    code, title = "too_many_services", "Too many services use the model"


class OtherServices(Conflict):
    """Not the services that were confirmed use the model now."""

    code, title = "other_services", "Other services use the model now"


@dataclass(frozen=True, slots=True)
class Deletion:
    """What goes with a model: the names of services, and how many versions."""

    services: Sequence[str]
    versions: int


async def plan_deletion(session: Session, model: Model, *, with_services: bool) -> Deletion:
    """What deleting the model would take along. Raises `InUse`, `NotFound`, `TooManyServices` as deleting it would."""
    if model.status != "active":
        raise NotFound(f"model '{model.name}' is being deleted")
    await check_no_jobs(session, model)
    services = await users_of_model(session, model.id)
    if not with_services:
        check_unused(model, services)
    _check_count(model, services)
    alive = select(func.count()).where(Version.model_id == model.id, Version.status != "deleted")
    return Deletion(services, (await session.execute(alive)).scalar_one())


async def delete_with_services(
    session: WriteSession, who: Who, model: Model, confirmed: Collection[str] | None = None
) -> Operation:
    """Delete a locked model, its versions and the services that use one. What is being deleted already is waited for.

    Raises `OtherServices` where these are not the `confirmed` ones, `InUse` for one that was deployed at this very
    moment, `TooManyServices`, and `UpgradeUnderWay` while a process of an older release is there.
    """
    services = await _hold_users(session, model)
    if confirmed is not None:
        _check_confirmed(model, {service.name for service in services}, set(confirmed))
    if not services:
        return await delete_model(session, who, model)
    await check_all_know(session, KNOWN_SINCE, "deleting a model with its services")
    living = await living_versions(session, model.id)  # who deploys one of them holds it until it is seen to use it
    # Before the routing version, as who claims one of these and the operation of a service: it holds both by then.
    await _hold_operations(session, [version.id for version in living])
    await check_no_jobs(session, model)
    late = set(await users_of_model(session, model.id)) - {service.name for service in services}
    if late:
        raise InUse(f"model '{model.name}' was deployed at this very moment, as {_quoted(late)}; delete it again")
    ends = [{"name": each.name, "operation": await _end(session, who, each)} for each in services]
    operation = await submit(session, who, "model.delete", model)
    names = ", ".join(service.name for service in services)
    operation.progress = {"percent": 0, "stage": "deleting", "detail": f"with the services {names}"}
    by = By(who.actor, operation_id=operation.id)
    used = await used_versions(session, model.id)
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
    _check_count(model, names)
    wanted = (Service.tenant_id == model.tenant_id, Service.name.in_(names), Service.status != "deleted")
    query = select(Service).where(*wanted).order_by(Service.id).with_for_update(key_share=True)
    held = list(await session.scalars(query.execution_options(populate_existing=True)))
    await _hold_operations(session, [service.id for service in held])
    still = set(await users_of_model(session, model.id))
    return [service for service in held if service.name in still]


async def _hold_operations(session: WriteSession, target_ids: Sequence[str]) -> None:
    """Lock what is under way on these, in the order in which everybody locks operations."""
    under_way = (
        Operation.target_id.in_(target_ids),
        Operation.status.in_([OPERATIONS.waiting, OPERATIONS.working]),
    )
    await session.execute(select(Operation.id).where(*under_way).order_by(Operation.id).with_for_update(key_share=True))


def _check_count(model: Model, services: Sequence[str]) -> None:
    if len(services) > MOST_SERVICES:
        raise TooManyServices(
            f"model '{model.name}' is used by {len(services)} services, and {MOST_SERVICES} at most are deleted with "
            f"one; delete some of them first: GET /api/v1/services?model={model.name} lists them"
        )


def _check_confirmed(model: Model, services: set[str], confirmed: set[str]) -> None:
    if services == confirmed:
        return
    new, gone = _quoted(services - confirmed), _quoted(confirmed - services)
    what = f"used by {new}, too" if new else ""
    if gone:
        what += f", and not by {gone} any more" if new else f"not used by {gone} any more"
    raise OtherServices(f"model '{model.name}' is {what}; with dry_run=true the answer names what would go now")


def _quoted(names: Collection[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names)[:5])


async def _end(session: WriteSession, who: Who, service: Service) -> str | None:
    """The id of the operation that deletes a locked service."""
    if service.status != "deleting":
        return (await act(session, who, service, "delete")).id
    under_way = await unfinished(session, service.id)
    return under_way[0].id if under_way else None


async def _end_later(session: WriteSession, who: Who, model: Model, version: Version) -> Operation:
    """Nobody can deploy the locked version from now on; its operation waits until no service needs it."""
    older = await unfinished(session, version.id)
    operation = await submit(session, who, "version.delete", version, model=model.name)
    by = By(who.actor, operation_id=operation.id)
    await supersede(session, older, operation, by)
    await advance(session, version, "delete", by)
    await forget_aliases(session, version.id)
    return operation
