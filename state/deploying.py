"""Wishes for services: each writes the rows, makes the move and queues the operation in the caller's one transaction.

A new wish raises the generation, which fences older holders, and supersedes their operations (ARCHITECTURE, section 4).
"""

from typing import Final, Literal

from core.clock import now_micros
from core.errors import Conflict, FieldProblem, IllegalMove, NameTaken, NotFound, named_by
from core.ids import new_id
from core.secrets import Vault
from state.advance import advance, illegal, lock
from state.cataloguing import Description, VersionNotReady, amend, hold_ready_version
from state.database import WriteSession
from state.history import By, begin
from state.machines import SERVICE
from state.operations import Who, held_by, record, submit, supersede, unfinished
from state.queries.models import find_model
from state.queries.services import (
    earlier_revisions,
    find_revision,
    find_service,
    model_of,
    seek_service,
    wanted_revision,
)
from state.references import LATEST, remember
from state.revisions import Spec, add_revision, run_the_same, spec_of
from state.tables import Operation, Replica, Revision, Service, Version
from state.wishes import Wish, changed, check_spec

Verb = Literal["pause", "resume", "restart", "delete"]
# In these a wish is only remembered: nothing runs, and `:resume` brings it up.
AT_REST: Final = ("paused", "pausing")
REPLACEABLE: Final = ("starting", "ready", "unready")
NEVER_RAN: Final = ("pending", "deploying", "failed")


class NoEarlierRevision(Conflict):
    """There is nothing to go back to."""

    code, title = "no_earlier_revision", "There is no earlier revision"


class SameRevision(Conflict):
    """The service is asked to run exactly this already."""

    code, title = "same_revision", "The service is at this revision"


async def create_service(
    session: WriteSession, who: Who, vault: Vault, name: str, wish: Wish, about: Description
) -> tuple[Service, Operation]:
    """A service and its first deployment.

    Raises `NameTaken`, `NotFound`, `VersionNotReady`, `InvalidField`, `RuntimesUnknown`, `UpgradeUnderWay`.
    """
    if await seek_service(session, who.tenant_id, name) is not None:
        raise NameTaken(
            f"a service named '{name}' exists; PATCH changes it, or take another name",
            fields=[FieldProblem("/name", f"a service named '{name}' exists", "take another name, or PATCH that one")],
            holder=f"/api/v1/services/{name}",
        )
    with named_by("/model"):
        model = await find_model(session, who.tenant_id, wish.model or "")
    named = wish.version or LATEST
    with named_by("/version"):
        version = await hold_ready_version(session, model, named)
    spec = changed(Spec(model, version, {}, {}, {}, {}), model, version, wish)
    await check_spec(session, spec)
    now = now_micros()
    service = Service(
        id=new_id("svc"),
        tenant_id=who.tenant_id,
        created_at=now,
        updated_at=now,
        name=name,
        replicas=wish.replicas or 1,
        expires_at=wish.expiry.at if wish.expiry else None,
        display_name=about.display_name,
        description=about.description,
        tags=list(about.tags),
    )
    remember(service, wish.follow, named, version.id)
    await begin(session, service, By(who.actor))
    service.revision_id = (await add_revision(session, vault, service, spec)).id
    await session.flush()
    return service, await submit(session, who, "service.deploy", service)


async def hold_service(session: WriteSession, who: Who, name: str) -> Service:
    """The tenant's service, locked. Raises `NotFound`."""
    service = await lock(session, Service, (await find_service(session, who.tenant_id, name)).id)
    if service.status == "deleted":  # meanwhile
        raise NotFound(f"service '{name[:60]}' is deleted")
    return service


async def seek_held_service(session: WriteSession, who: Who, name: str) -> Service | None:
    """The same, or nothing."""
    found = await seek_service(session, who.tenant_id, name)
    service = None if found is None else await lock(session, Service, found.id)
    return None if service is None or service.status == "deleted" else service


async def change_service(session: WriteSession, who: Who, vault: Vault, service: Service, wish: Wish) -> Operation:
    """A merge patch of a locked service. Raises `IllegalMove` while it is deleted, and what `create_service` does."""
    if service.status == "deleting":
        raise held_by(illegal(service, "update"), await unfinished(session, service.id))
    before = await wanted_revision(session, service)
    after = await _revised(session, who, vault, service, before, wish)
    is_same = after.id == before.id and wish.replicas in (None, service.replicas)
    remember(service, wish.follow, wish.named_version, after.version_id)
    amend(service, wish.about)
    service.revision_id, service.replicas = after.id, wish.replicas or service.replicas
    if wish.expiry is not None:
        service.expires_at = wish.expiry.at
    await session.flush()
    # A failed service tries again whatever a wish about its running says.
    has_nothing_to_do = not wish.is_about_running or (is_same and service.status != "failed")
    if has_nothing_to_do or service.status in AT_REST:
        return await record(session, who, "service.update", service)
    return await _bring_about(session, who, service, is_same_revision=after.id == before.id)


async def act(session: WriteSession, who: Who, service: Service, verb: Verb) -> Operation:
    """Pause, resume, restart or delete a locked service. Raises `IllegalMove` with a link to what holds it."""
    move: str = verb
    kind = f"service.{verb}"
    if verb == "restart" and service.status == "failed":
        move, kind = "redeploy", "service.deploy"  # it never ran: what is restarted is its first deployment
    older = await unfinished(session, service.id)
    if service.status not in SERVICE.moves[move].sources:
        raise held_by(illegal(service, verb), older)
    amend(service, {})
    await session.flush()
    return await _queue(session, who, service, kind, move, older)


async def restart_replica(session: WriteSession, who: Who, service: Service, replica: Replica) -> Operation:
    """Replace one replica of a locked service. Raises `IllegalMove` when it has ended or leaves already."""
    if replica.status not in REPLACEABLE:
        raise IllegalMove(
            f"replica '{replica.id}' is {replica.status} and cannot be replaced; "
            f"GET /api/v1/services/{service.name}/replicas?status.in={','.join(REPLACEABLE)} lists those that can",
            current_status=str(replica.status),
        )
    older = await unfinished(session, service.id)
    if service.status not in SERVICE.moves["restart"].sources:
        raise held_by(illegal(service, "restart"), older)
    amend(service, {})
    await session.flush()
    return await _queue(session, who, service, "service.restart", "restart", older, replica=replica.id)


async def roll_back(
    session: WriteSession, who: Who, vault: Vault, service: Service, number: int | None = None
) -> Operation:
    """Let a locked service run what an earlier revision ran; without a number what ran before what is wanted now.

    Raises `IllegalMove`, `NotFound`, `NoEarlierRevision`, `SameRevision`, `VersionNotReady`, `UpgradeUnderWay`.
    """
    older = await unfinished(session, service.id)
    if service.status not in SERVICE.moves["rollback"].sources and service.status not in NEVER_RAN:
        raise held_by(illegal(service, "rollback"), older)
    wanted = await wanted_revision(session, service)
    if number is None:
        target = await _revision_before(session, vault, service, wanted)
    else:
        with named_by("/revision"):
            target = await find_revision(session, service, number)
            if run_the_same(vault, target, wanted):
                raise SameRevision(
                    f"service '{service.name}' is asked to run what revision {number} runs already (it is at revision "
                    f"{wanted.number}); ':restart' makes fresh replicas of it"
                )
    # What is live already is wanted again as it is: none of its replicas has to be replaced.
    after = target if target.id == service.live_revision_id else await _repeated(session, vault, service, target)
    amend(service, {})
    service.revision_id = after.id
    await session.flush()
    if service.status in NEVER_RAN:
        return await _bring_about(session, who, service, is_same_revision=False)
    return await _queue(session, who, service, "service.rollback", "rollback", older)


async def _revision_before(session: WriteSession, vault: Vault, service: Service, wanted: Revision) -> Revision:
    """The live one while another is rolled out, else the newest earlier one that runs something else."""
    async for earlier in earlier_revisions(session, service, wanted):
        if not run_the_same(vault, earlier, wanted):
            return earlier
    raise NoEarlierRevision(
        f"service '{service.name}' has no revision before {wanted.number} that runs something else; "
        f"GET /api/v1/services/{service.name}/revisions lists them"
    )


async def _repeated(session: WriteSession, vault: Vault, service: Service, target: Revision) -> Revision:
    """A new revision with the spec of an old one."""
    model, version = await model_of(session, target)
    version = await lock(session, Version, version.id)
    if version.status != "ready":
        raise VersionNotReady(
            f"revision {target.number} ran version {version.number} of model '{model.name}', which is "
            f"{version.status}; name a revision whose version is still there",
            current_status=version.status,
        )
    return await add_revision(session, vault, service, spec_of(vault, target, model, version))


async def _bring_about(session: WriteSession, who: Who, service: Service, *, is_same_revision: bool) -> Operation:
    """The operation that makes a changed wish true from where the service is now."""
    older = await unfinished(session, service.id)
    if service.status in NEVER_RAN:
        move = None if service.status == "pending" else "redeploy"
        return await _queue(session, who, service, "service.deploy", move, older)
    if service.status == "resuming":
        return await _queue(session, who, service, "service.resume", None, older)
    if service.status == "updating":
        # Replicas of another revision are fresh anyway; with the same one the superseded restart must not be forgotten.
        restarts = [operation for operation in older if operation.kind == "service.restart"]
        if restarts and is_same_revision:
            return await _queue(session, who, service, "service.restart", None, older, **restarts[-1].arguments)
        return await _queue(session, who, service, "service.update", None, older)
    return await _queue(session, who, service, "service.update", "update", older)


async def _queue(
    session: WriteSession,
    who: Who,
    service: Service,
    kind: str,
    move: str | None,
    older: list[Operation],
    **arguments: object,
) -> Operation:
    operation = await submit(session, who, kind, service, **arguments)
    by = By(who.actor, operation_id=operation.id)
    if move is not None:
        await advance(session, service, move, by)
    await supersede(session, older, operation, by)
    return operation


async def _revised(
    session: WriteSession, who: Who, vault: Vault, service: Service, before: Revision, wish: Wish
) -> Revision:
    """The revision that the wish asks for: a new one only where it would run something else."""
    model, version = await model_of(session, before)
    old = spec_of(vault, before, model, version)
    if (named := wish.named_version) is not None:
        with named_by("/model"):
            model = model if wish.model is None else await find_model(session, who.tenant_id, wish.model)
        with named_by("/version"):
            version = await hold_ready_version(session, model, named)
    new = changed(old, model, version, wish)
    if new == old:
        return before
    await check_spec(session, new, old)
    return await add_revision(session, vault, service, new)
