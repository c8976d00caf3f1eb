"""Wishes for services: each writes the rows, makes the move and queues the operation in the caller's one transaction.

A new wish raises the generation, which fences older holders, and supersedes their operations (ARCHITECTURE, section 4).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar

from core.clock import now_micros
from core.errors import NameTaken, NotFound
from core.ids import new_id
from core.secrets import Vault
from state.advance import advance, illegal, lock
from state.cataloguing import Description, Value, amend, hold_ready_version
from state.database import WriteSession
from state.history import By, begin
from state.machines import SERVICE
from state.operations import Who, held_by, record, submit, supersede, unfinished
from state.queries.models import find_model
from state.queries.services import find_service, last_revision_number, model_of, seek_service, wanted_revision
from state.tables import Model, Operation, Revision, Service, Version

V = TypeVar("V")
Verb = Literal["pause", "resume", "restart", "delete"]
Resources = Mapping[str, float | int | None]
# In these a wish is only remembered: nothing runs, and `:resume` brings it up.
AT_REST: Final = ("paused", "pausing")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a service; None leaves a part as it is. In `resources` and `env` a None removes the entry.

    `clears_env` removes all variables that are not given.
    """

    model: str | None = None
    version: str | None = None
    replicas: int | None = None
    resources: Resources | None = None
    env: Mapping[str, str | None] | None = None
    clears_env: bool = False
    about: Mapping[str, Value] = field(default_factory=dict)

    @property
    def is_about_running(self) -> bool:
        """Whether it says anything about what runs, and not only about descriptions."""
        parts = (self.model, self.version, self.replicas, self.resources, self.env)
        return self.clears_env or any(part is not None for part in parts)


@dataclass(frozen=True, slots=True)
class _Spec:
    """What a revision runs."""

    model: Model
    version: Version
    resources: Resources
    env: Mapping[str, str]


async def create_service(
    session: WriteSession, who: Who, vault: Vault, name: str, wish: Wish, about: Description
) -> tuple[Service, Operation]:
    """A service and its first deployment. Raises `NameTaken`, `NotFound`, `VersionNotReady`."""
    if await seek_service(session, who.tenant_id, name) is not None:
        raise NameTaken(
            f"a service named '{name}' exists; PATCH changes it, or take another name",
            holder=f"/api/v1/services/{name}",
        )
    model = await find_model(session, who.tenant_id, wish.model or "")
    version = await hold_ready_version(session, model, wish.version or "latest")
    spec = _Spec(model, version, _merged(wish.resources or {}), _merged(wish.env or {}))
    now = now_micros()
    service = Service(
        id=new_id("svc"),
        tenant_id=who.tenant_id,
        created_at=now,
        updated_at=now,
        name=name,
        replicas=wish.replicas or 1,
        display_name=about.display_name,
        description=about.description,
        tags=list(about.tags),
    )
    await begin(session, service, By(who.actor))
    service.revision_id = (await _add_revision(session, vault, service, spec, 1)).id
    await session.flush()
    return service, await submit(session, who, "service.deploy", service)


async def hold_service(session: WriteSession, who: Who, name: str) -> Service:
    """The tenant's service, locked. Raises `NotFound`."""
    service = await lock(session, Service, (await find_service(session, who.tenant_id, name)).id)
    if service.status == "deleted":
        raise NotFound(f"service '{name[:60]}' is deleted")
    return service


async def change_service(session: WriteSession, who: Who, vault: Vault, service: Service, wish: Wish) -> Operation:
    """A merge patch of a locked service. Raises `IllegalMove` while it is deleted, `NotFound`, `VersionNotReady`."""
    if service.status == "deleting":
        raise held_by(illegal(service, "update"), await unfinished(session, service.id))
    before = await wanted_revision(session, service)
    after = await _revised(session, who, vault, service, before, wish)
    is_same = after.id == before.id and wish.replicas in (None, service.replicas)
    amend(service, wish.about)
    service.revision_id, service.replicas = after.id, wish.replicas or service.replicas
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


async def _bring_about(session: WriteSession, who: Who, service: Service, *, is_same_revision: bool) -> Operation:
    """The operation that makes a changed wish true from where the service is now."""
    older = await unfinished(session, service.id)
    if service.status in ("pending", "deploying", "failed"):
        move = None if service.status == "pending" else "redeploy"
        return await _queue(session, who, service, "service.deploy", move, older)
    if service.status == "resuming":
        return await _queue(session, who, service, "service.resume", None, older)
    if service.status == "updating":
        # Replicas of another revision are fresh anyway; with the same one the superseded restart must not be forgotten.
        is_restarting = any(operation.kind == "service.restart" for operation in older)
        kind = "service.restart" if is_restarting and is_same_revision else "service.update"
        return await _queue(session, who, service, kind, None, older)
    return await _queue(session, who, service, "service.update", "update", older)


async def _queue(
    session: WriteSession, who: Who, service: Service, kind: str, move: str | None, older: list[Operation]
) -> Operation:
    operation = await submit(session, who, kind, service)
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
    if wish.model is not None or wish.version is not None:
        model = model if wish.model is None else await find_model(session, who.tenant_id, wish.model)
        version = await hold_ready_version(session, model, wish.version or "latest")
    resources = _merged({**before.resources, **(wish.resources or {})})
    old_env = _opened(vault, before)
    env = _merged({**({} if wish.clears_env else old_env), **(wish.env or {})})
    if version.id == before.version_id and resources == before.resources and env == old_env:
        return before
    number = await last_revision_number(session, service.id) + 1
    return await _add_revision(session, vault, service, _Spec(model, version, resources, env), number)


async def _add_revision(session: WriteSession, vault: Vault, service: Service, spec: _Spec, number: int) -> Revision:
    revision_id = new_id("rev")
    sealed = vault.seal(json.dumps(dict(spec.env)), _purpose(revision_id)) if spec.env else None
    revision = Revision(
        id=revision_id,
        tenant_id=service.tenant_id,
        created_at=now_micros(),
        service_id=service.id,
        number=number,
        model_id=spec.model.id,
        version_id=spec.version.id,
        resources=dict(spec.resources),
        env_sealed=sealed,
        env_names=sorted(spec.env),
    )
    session.add(revision)
    await session.flush()
    return revision


def _opened(vault: Vault, revision: Revision) -> dict[str, str]:
    if revision.env_sealed is None:
        return {}
    env: dict[str, str] = json.loads(vault.open(revision.env_sealed, _purpose(revision.id)))
    return env


def _purpose(revision_id: str) -> str:
    """What the sealed variables of a revision are bound to; the node opens them."""
    return f"revision:{revision_id}"


def _merged(values: Mapping[str, V | None]) -> dict[str, V]:
    return {name: value for name, value in values.items() if value is not None}
