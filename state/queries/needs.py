"""Which jobs, and which runs that have not ended, need a model, a version or a dataset that somebody wants to delete.

What a script reads stands by names in its spec, and is found by reading those of all scripts of the tenant: deletions
are rare, and nothing else asks.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import UnaryExpression, select
from sqlalchemy.sql.operators import custom_op

from state.database import Session
from state.datatables import Dataset
from state.jobtables import LIVE, Job, Run
from state.tables import Model, Version

SHOWN_USERS = 50


async def jobs_of_model(session: Session, model: Model) -> Sequence[str]:
    """The names of the jobs that run a model, or whose scripts read it."""
    query = select(Job.name).where(Job.model_id == model.id, Job.status != "deleted").order_by(Job.name)
    batches = await session.scalars(query.limit(SHOWN_USERS))
    scripts = [name for name, given in await _scripts_that_read(session, model) if given]
    return sorted({*batches, *scripts})[:SHOWN_USERS]


async def jobs_of_version(session: Session, model: Model, version: Version) -> Sequence[str]:
    """The names of the jobs that name a version by its number or its digest, to run it or for a script."""
    names = _names_of(version)
    named = Job.spec["version"].as_string().in_(names)
    query = select(Job.name).where(Job.model_id == model.id, Job.status != "deleted", named).order_by(Job.name)
    batches = await session.scalars(query.limit(SHOWN_USERS))
    scripts = [name for name, given in await _scripts_that_read(session, model) if given & names]
    return sorted({*batches, *scripts})[:SHOWN_USERS]


async def runs_of_model(session: Session, model: Model) -> Sequence[str]:
    """The paths of the live runs that have a version of a model, or will have one when they begin."""
    given = select(Version.id).where(Version.model_id == model.id)
    return await _runs(session, model, set(await session.scalars(given)), names=None)


async def runs_of_version(session: Session, model: Model, version: Version) -> Sequence[str]:
    """The paths of the live runs that have a version, or name it by its number or its digest."""
    return await _runs(session, model, {version.id}, _names_of(version))


async def scripts_waiting_for(session: Session, row: Dataset) -> Sequence[str]:
    """The paths of the runs of scripts that name a dataset and have not begun: once they have, its bytes are theirs."""
    named = Run.spec["inputs"]["datasets"]
    only = (Run.kind == "script", Run.resolved.is_(None))
    found = await _live_runs(session, row.tenant_id, (named,), *only)
    return _paths(each for each in found if row.name in (each[3] or {}).values())


def read_reference(reference: str) -> tuple[str, str]:
    """What `iris`, `iris/3` or `iris@prod` names: a model, and a version of it as the API takes it."""
    name, at, alias = reference.partition("@")
    if at:
        return name, f"@{alias}"
    name, slash, version = reference.partition("/")
    return name, version if slash else "latest"


async def _runs(session: Session, model: Model, ids: Collection[str], names: Collection[str] | None) -> Sequence[str]:
    """Live runs that have one of these versions, or will begin with one of these names of it; without `names` any."""
    has = (Run.version_id, Run.resolved["inputs"]["models"])
    wants = (Run.resolved.is_(None), Run.spec["model"], Run.spec["version"], Run.spec["inputs"]["models"])
    found = []
    for row in await _live_runs(session, model.tenant_id, (*has, *wants)):
        version_id, resolved, is_waiting, scorer, version, read = row[3:]
        wanted = _versions_read(model, read) | ({str(version or "latest")} if scorer == model.name else set())
        its = {version_id, *(each["version_id"] for each in (resolved or {}).values())}
        if its.intersection(ids) or (is_waiting and (wanted if names is None else wanted.intersection(names))):
            found.append(row)
    return _paths(found)


async def _live_runs(session: Session, tenant_id: str, columns: Sequence[Any], *only: Any) -> Sequence[Sequence[Any]]:
    """When they were made, their jobs' names and numbers, and these columns; by the index of live runs alone.

    SQLite keeps no statistics: it would take the index by the tenant, through all runs that there ever were. `+` before
    the column keeps it from that (https://sqlite.org/optoverview.html#uplus).
    """
    tenant: Any = Run.tenant_id
    if session.get_bind().dialect.name == "sqlite":
        tenant = UnaryExpression(tenant, operator=custom_op("+"), type_=tenant.type)
    query = select(Run.created_at, Run.job_name, Run.number, *columns).where(LIVE, tenant == tenant_id, *only)
    return sorted((tuple(row) for row in await session.execute(query)), key=lambda row: row[:3])


def _paths(rows: Iterable[Sequence[Any]]) -> Sequence[str]:
    return [f"/api/v1/jobs/{job}/runs/{number}" for _, job, number in (row[:3] for row in rows)][:SHOWN_USERS]


async def _scripts_that_read(session: Session, model: Model) -> Sequence[tuple[str, set[str]]]:
    """The names of script jobs, and the versions of the model that each reads, as the API takes them."""
    read = Job.spec["inputs"]["models"]
    query = select(Job.name, read).where(
        Job.tenant_id == model.tenant_id, Job.kind == "script", Job.status != "deleted"
    )
    return [(name, _versions_read(model, given)) for name, given in await session.execute(query)]


def _versions_read(model: Model, given: Mapping[str, str] | None) -> set[str]:
    references = [read_reference(each) for each in (given or {}).values()]
    return {version for name, version in references if name == model.name}


def _names_of(version: Version) -> set[str]:
    return {str(version.number), str(version.digest)}
