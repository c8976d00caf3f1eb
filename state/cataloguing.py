"""Wishes for models and versions: each a change of rows and its operation, in the caller's one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from core.clock import now_micros
from core.errors import Conflict, FieldProblem, InUse, NameTaken, NotFound
from core.ids import new_id
from state.advance import advance, lock
from state.database import Session, WriteSession
from state.datatables import Dataset
from state.fetching import FETCH
from state.history import By, begin
from state.operations import Who, record, submit, submit_in, supersede, unfinished
from state.queries.models import find_model, forget_aliases, seek_model, users_of_model, users_of_version
from state.queries.needs import jobs_of_model, jobs_of_version, runs_of_model, runs_of_version
from state.queries.versions import find_version, inspection_of, living_versions
from state.tables import Alias, Model, Operation, Service, Version

Value = str | list[str] | Mapping[str, object] | None


class VersionNotReady(Conflict):
    """Only a ready version can be served; this one is not inspected yet, or is invalid."""

    code, title = "version_not_ready", "The version is not ready"


@dataclass(frozen=True, slots=True)
class Description:
    """What an owner says about a model, a version or a service, beside its name."""

    display_name: str | None = None
    description: str | None = None
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class NewVersion:
    """An artifact that is in the store, or where it comes from (`source_uri`), and what its owner says about it.

    `task` overrides what the inspection finds; a source must turn out to be of the `type`, where one is given.
    """

    digest: str = ""
    size_bytes: int = 0
    format: str = ""
    source_uri: str | None = None
    type: str | None = None
    filename: str | None = None
    task: str | None = None
    metrics: Mapping[str, object] | None = None
    features: Mapping[str, Sequence[str]] | None = None
    about: Description = field(default_factory=Description)


async def create_model(session: WriteSession, who: Who, name: str, about: Description) -> Model:
    """An empty model. Raises `NameTaken`."""
    taken = await seek_model(session, who.tenant_id, name)
    if taken is not None:
        raise NameTaken(
            f"a model named '{name}' exists; upload a version to it, or take another name",
            fields=[FieldProblem("/name", f"a model named '{name}' exists", "upload a version to it, or use another")],
            holder=f"/api/v1/models/{name}",
        )
    now = now_micros()
    model = Model(id=new_id("mdl"), tenant_id=who.tenant_id, created_at=now, updated_at=now, name=name, **_said(about))
    await begin(session, model, By(who.actor))
    return model


async def add_version(session: WriteSession, who: Who, model: Model, wanted: NewVersion) -> tuple[Version, Operation]:
    """The next version of the model, and its inspection, which fetches a source first."""
    model = await lock(session, Model, model.id)
    if model.status != "active":
        raise NotFound(f"model '{model.name}' is being deleted")
    model.last_number += 1
    now = now_micros()
    version = Version(
        id=new_id("ver"),
        tenant_id=who.tenant_id,
        created_at=now,
        updated_at=now,
        model_id=model.id,
        number=model.last_number,
        source_uri=wanted.source_uri,
        digest=wanted.digest,
        size_bytes=wanted.size_bytes,
        format=wanted.format,
        filename=wanted.filename,
        task=wanted.task,
        metrics=None if wanted.metrics is None else dict(wanted.metrics),
        features=None if wanted.features is None else {name: list(each) for name, each in wanted.features.items()},
        **_said(wanted.about),
    )
    await begin(session, version, By(who.actor))
    if wanted.source_uri is None:
        return version, await submit(session, who, "version.inspect", version, model=model.name)
    said: dict[str, object] = {"model": model.name, "type": wanted.type}
    return version, await submit_in(session, FETCH, who, "version.inspect", version, said)


def amend(row: Model | Version | Service | Dataset, changes: Mapping[str, Value]) -> None:
    """Set described columns of a locked row; a null `tags` is an empty list."""
    for name, value in changes.items():
        setattr(row, name, [] if name == "tags" and value is None else value)
    if not isinstance(row, Version | Dataset):
        row.generation += 1  # these have one wish, to be inspected or made, which `:retry` must still find
    row.edition += 1
    row.updated_at = now_micros()


async def hold_model(session: WriteSession, who: Who, name: str) -> Model:
    """The tenant's model, locked. Raises `NotFound`."""
    model = await lock(session, Model, (await find_model(session, who.tenant_id, name)).id)
    if model.status != "active":
        raise NotFound(f"model '{name[:60]}' is being deleted")
    return model


async def hold_version(session: WriteSession, model: Model, given: str) -> Version:
    """A version of the model, locked. Raises `NotFound`."""
    version = await lock(session, Version, (await find_version(session, model, given)).id)
    if version.status in ("deleting", "deleted"):
        raise NotFound(f"version {version.number} of model '{model.name}' is deleted")
    return version


async def hold_ready_version(session: WriteSession, model: Model, given: str) -> Version:
    """A version that can be served, locked. Raises `NotFound`, `VersionNotReady`."""
    version = await hold_version(session, model, given)
    if version.status == "ready":
        return version
    what = f"version {version.number} of model '{model.name}' is {version.status}"
    if version.status == "invalid":
        raise VersionNotReady(f"{what}: {version.message}; upload a corrected file", current_status=version.status)
    operation = await inspection_of(session, version.id)
    link = None if operation is None else f"/api/v1/operations/{operation}"
    wait = f"GET {link}:wait tells when it is ready" if link else "it has no inspection under way; upload it again"
    raise VersionNotReady(f"{what}; {wait}", current_status=version.status, operation=link)


async def delete_model(session: WriteSession, who: Who, model: Model) -> Operation:
    """Delete a locked model with all its versions. Raises `InUse` naming the services, jobs or runs that need it."""
    living = await living_versions(session, model.id)  # who deploys one of them holds it until it is seen to use it
    users = await users_of_model(session, model.id)
    check_unused(model, users)
    await check_no_jobs(session, model)
    operation = await record(session, who, "model.delete", model)
    by = By(who.actor, operation_id=operation.id)
    for version in living:
        await remove_version(session, version, operation, by)
    await advance(session, model, "delete", by)
    await advance(session, model, "deleted", by, deleted_at=now_micros())
    return operation


async def delete_version(session: WriteSession, who: Who, model: Model, version: Version) -> Operation:
    """Delete a locked version. Raises `InUse` naming the services, runs or jobs that need it."""
    users = await users_of_version(session, version.id)
    if users:
        raise _in_use(f"version {version.number} of model '{model.name}'", users)
    await _check_not_run(session, model, version)
    operation = await record(session, who, "version.delete", version, model=model.name)
    await remove_version(session, version, operation, By(who.actor, operation_id=operation.id))
    return operation


async def set_alias(session: WriteSession, who: Who, model: Model, name: str, version: Version) -> Operation:
    """Let `@name` mean this version of the locked model from now on."""
    query = select(Alias).where(Alias.model_id == model.id, Alias.name == name)
    alias = (await session.execute(query)).scalar_one_or_none()
    if alias is None:
        now = now_micros()
        alias = Alias(id=new_id("als"), tenant_id=who.tenant_id, created_at=now, model_id=model.id, name=name)
        session.add(alias)
    alias.version_id = version.id
    amend(model, {})
    return await record(session, who, "model.set_alias", model, alias=name, version=version.number)


async def remove_alias(session: WriteSession, who: Who, model: Model, name: str) -> Operation:
    """Forget an alias of the locked model. Raises `NotFound`."""
    query = select(Alias).where(Alias.model_id == model.id, Alias.name == name)
    alias = (await session.execute(query)).scalar_one_or_none()
    if alias is None:
        raise NotFound(
            f"model '{model.name}' has no alias '{name[:60]}'; GET /api/v1/models/{model.name}/versions tells them"
        )
    await session.delete(alias)
    amend(model, {})
    return await record(session, who, "model.remove_alias", model, alias=name)


async def remove_version(session: WriteSession, version: Version, operation: Operation, by: By) -> None:
    """Delete a locked version that nothing uses. What still works on it ends; its bytes go when the sweeper finds that
    nothing refers to them."""
    await supersede(session, await unfinished(session, version.id), operation, by)
    if version.status != "deleting":
        await advance(session, version, "delete", by)
    await advance(session, version, "deleted", by, deleted_at=now_micros())
    await forget_aliases(session, version.id)


def check_unused(model: Model, users: Sequence[str]) -> None:
    """Raises `InUse` naming the services that need a model."""
    if users:
        hint = f"; with ?cascade=true {'it goes' if len(users) == 1 else 'they go'} with it"
        raise _in_use(f"model '{model.name}'", users, hint)


async def check_no_jobs(session: Session, model: Model) -> None:
    """Raises `InUse` naming the jobs that need a model, or the live runs of jobs that do not any more; neither is ever
    deleted with it."""
    what = f"model '{model.name}'"
    if jobs := await jobs_of_model(session, model):
        raise _in_use_by_jobs(what, jobs)
    if runs := await runs_of_model(session, model):
        raise _in_use_by_runs(what, runs)


async def _check_not_run(session: Session, model: Model, version: Version) -> None:
    """Raises `InUse` naming the live runs that need a version, or the jobs that name it."""
    what = f"version {version.number} of model '{model.name}'"
    if runs := await runs_of_version(session, model, version):
        raise _in_use_by_runs(what, runs)
    if jobs := await jobs_of_version(session, model, version):
        raise _in_use_by_jobs(what, jobs)


def _in_use_by_runs(what: str, runs: Sequence[str]) -> InUse:
    shown = ", ".join(runs[:5])
    return InUse(f"{what} is needed by {shown}; wait, or stop {'it' if len(runs) == 1 else 'them'} first", runs=runs)


def _in_use_by_jobs(what: str, jobs: Sequence[str]) -> InUse:
    shown = ", ".join(f"'{name}'" for name in jobs[:5])
    noun, them = ("job", "it") if len(jobs) == 1 else ("jobs", "them")
    return InUse(
        f"{what} is used by the {noun} {shown}; delete {them} first, or let {them} use another",
        jobs=[f"/api/v1/jobs/{name}" for name in jobs],
    )


def _in_use(what: str, users: Sequence[str], hint: str = "") -> InUse:
    shown = ", ".join(f"'{name}'" for name in users[:5])
    noun = "service" if len(users) == 1 else "services"
    return InUse(
        f"{what} is used by the {noun} {shown}; delete {'it' if len(users) == 1 else 'them'} first, "
        f"or let another version take its place{hint}",
        services=[f"/api/v1/services/{name}" for name in users[:50]],
    )


def _said(about: Description) -> dict[str, object]:
    return {"display_name": about.display_name, "description": about.description, "tags": list(about.tags)}
