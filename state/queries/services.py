"""Services: what one is made of, as the workers and the API read it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, select

from core.clock import Micros
from core.errors import Json, NotFound
from state.database import Session
from state.features import named_sample
from state.parts import FORMAT as PARTS
from state.parts import Signature
from state.queries.installation import known_runtimes
from state.queries.lists import Page, View, page
from state.queries.rows import among_ids
from state.runtimes import running_on
from state.tables import Model, Operation, Replica, Revision, Service, Version

MOST_EARLIER = 100  # whoever tried the same in vain more often must name the revision


# Without what is sealed: it may be large.
SHOWN_COLUMNS = (
    Revision.id,
    Revision.number,
    Revision.resources,
    Revision.env_names,
    Revision.config_names,
    Revision.runtime,
    Revision.created_at,
)
# That of the file, or of the default part of an archive.
FORMAT_SERVED = case((Version.format == PARTS, Version.signature["format"].as_string()), else_=Version.format)


@dataclass(frozen=True, slots=True)
class RevisionFacts:
    """A revision with the names of what it runs; never what its environment and its config files say."""

    id: str
    number: int
    model: str
    version: int
    resources: dict[str, float]
    env_names: tuple[str, ...]
    config_names: Mapping[str, int]
    runtime: Mapping[str, str] | None
    format: str
    created_at: Micros


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """A service with the revision that is wanted, the one that was last ready, and what happens to it now.

    `runs_on` is the runtime of the latter, as the node tells it.
    """

    row: Service
    wanted: RevisionFacts | None
    live: RevisionFacts | None
    ready_replicas: int
    operation_id: str | None
    runs_on: Mapping[str, Json] | None = None


async def find_service(session: Session, tenant_id: str, name: str) -> Service:
    """The tenant's service of this name. Raises `NotFound`."""
    service = await seek_service(session, tenant_id, name)
    if service is None:
        raise NotFound(f"no service is named '{name[:60]}'; GET /api/v1/services lists them")
    return service


async def seek_service(session: Session, tenant_id: str, name: str) -> Service | None:
    """The same, or nothing."""
    query = select(Service).where(Service.tenant_id == tenant_id, Service.name == name, Service.status != "deleted")
    return (await session.execute(query)).scalar_one_or_none()


async def list_services(session: Session, tenant_id: str, view: View, models: Sequence[str] = ()) -> Page[Service]:
    """The tenant's services; with `models` only those that are asked to serve one of these."""
    query = select(Service).where(Service.tenant_id == tenant_id, Service.status != "deleted")
    if models:
        query = query.where(serves_any(tenant_id, models))
    return await page(session, query, Service, view)


def serves_any(tenant_id: str, models: Sequence[str]) -> ColumnElement[bool]:
    """The condition that a service is asked to serve one of the tenant's models of these names."""
    serving = select(Revision.id).join(Model, Model.id == Revision.model_id)
    return Service.revision_id.in_(serving.where(Model.tenant_id == tenant_id, Model.name.in_(models)))


async def describe(session: Session, services: Sequence[Service]) -> list[ServiceFacts]:
    """Everything that is shown of services, in a handful of queries however many they are."""
    ids = [service.id for service in services]
    revision_ids = {id for service in services for id in (service.revision_id, service.live_revision_id) if id}
    facts = {found.id: found for found in await _revision_facts(session, among_ids(session, Revision.id, revision_ids))}
    ready = select(Replica.service_id, func.count()).where(
        among_ids(session, Replica.service_id, ids), Replica.status == "ready"
    )
    counts = dict((await session.execute(ready.group_by(Replica.service_id))).all())
    busy = select(Operation.target_id, Operation.id).where(
        among_ids(session, Operation.target_id, ids), Operation.status.in_(["queued", "running"])
    )
    holders = dict((await session.execute(busy.order_by(Operation.id.desc()))).all())
    offered = await known_runtimes(session) or () if facts else ()
    return [
        ServiceFacts(
            service,
            facts.get(service.revision_id or ""),
            live := facts.get(service.live_revision_id or ""),
            counts.get(service.id, 0),
            holders.get(service.id),
            running_on(offered, live.format, live.runtime or {}) if live else None,
        )
        for service in services
    ]


async def list_revisions(session: Session, service: Service, view: View) -> Page[RevisionFacts]:
    """The revisions of a service."""
    query = select(Revision).where(Revision.service_id == service.id)
    found = await page(session, query, Revision, view, without=("env_sealed", "config_sealed"))
    facts = {
        facts.id: facts
        for facts in await _revision_facts(session, among_ids(session, Revision.id, [r.id for r in found.rows]))
    }
    return Page([facts[revision.id] for revision in found.rows], found.next, found.total)


async def wanted_revision(session: Session, service: Service) -> Revision:
    """What the service is asked to run."""
    return (await session.scalars(select(Revision).where(Revision.id == service.revision_id))).one()


async def find_revision(session: Session, service: Service, number: int) -> Revision:
    """A revision of the service by its number. Raises `NotFound`."""
    query = select(Revision).where(Revision.service_id == service.id, Revision.number == number)
    revision = (await session.execute(query)).scalar_one_or_none()
    if revision is None:
        raise NotFound(
            f"service '{service.name}' has no revision {number}; "
            f"GET /api/v1/services/{service.name}/revisions lists them"
        )
    return revision


async def earlier_revisions(session: Session, service: Service, revision: Revision) -> AsyncIterator[Revision]:
    """The live revision while another one is wanted, then those before `revision`, the newest first.

    One by one: the first is mostly what is looked for, and what is sealed in all of them may be large.
    """
    is_before = and_(Revision.service_id == service.id, Revision.number < revision.number)
    newest_first = select(Revision.id).where(is_before).order_by(Revision.number.desc()).limit(MOST_EARLIER)
    ids = list(await session.scalars(newest_first))
    if service.live_revision_id not in (None, revision.id):
        ids.insert(0, service.live_revision_id)
    for id in ids:
        yield (await session.scalars(select(Revision).where(Revision.id == id))).one()


@dataclass(frozen=True, slots=True)
class Served:
    """The names of what answers predictions."""

    model: str
    version: int


async def served_by(session: Session, service: Service) -> Served:
    """What answers predictions: the revision that was last ready, or the first one while it comes up."""
    query = (
        select(Model.name, Version.number)
        .select_from(Revision)
        .join(Version, Version.id == Revision.version_id)
        .join(Model, Model.id == Revision.model_id)
        .where(Revision.id == (service.live_revision_id or service.revision_id))
    )
    model, version = (await session.execute(query)).one()
    return Served(model, version)


async def signature_served(session: Session, service: Service) -> Signature:
    """What was found in the version that answers predictions."""
    query = select(Version.signature).join(Revision, Revision.version_id == Version.id)
    query = query.where(Revision.id == (service.live_revision_id or service.revision_id))
    return (await session.scalars(query)).one() or {}


async def sample_of(session: Session, service: Service) -> Mapping[str, Json] | None:
    """A record that the version that answers predictions is proven to answer, if there is one."""
    query = select(Version.signature, Version.features).join(Revision, Revision.version_id == Version.id)
    query = query.where(Revision.id == (service.live_revision_id or service.revision_id))
    signature, features = (await session.execute(query)).one()
    return named_sample(signature or {}, features)


async def last_revision_number(session: Session, service_id: str) -> int:
    """The highest number that a revision of the service has; the caller holds the service's row."""
    return (
        await session.scalars(select(func.max(Revision.number)).where(Revision.service_id == service_id))
    ).one() or 0


async def model_of(session: Session, revision: Revision) -> tuple[Model, Version]:
    """The model and the version that a revision runs."""
    model = (await session.scalars(select(Model).where(Model.id == revision.model_id))).one()
    return model, (await session.scalars(select(Version).where(Version.id == revision.version_id))).one()


async def find_replica(session: Session, service: Service, replica_id: str) -> Replica:
    """A replica of the service, an ended one too. Raises `NotFound`."""
    query = select(Replica).where(Replica.id == replica_id, Replica.service_id == service.id)
    replica = (await session.execute(query)).scalar_one_or_none()
    if replica is None:
        raise NotFound(
            f"service '{service.name}' has no replica '{replica_id[:60]}'; "
            f"GET /api/v1/services/{service.name}/replicas lists them"
        )
    return replica


async def list_replicas(session: Session, service: Service, view: View) -> Page[Replica]:
    """The replicas of a service, ended ones too."""
    return await page(session, select(Replica).where(Replica.service_id == service.id), Replica, view)


async def _revision_facts(session: Session, which: Any) -> list[RevisionFacts]:
    query = (
        select(*SHOWN_COLUMNS, Model.name, Version.number, FORMAT_SERVED)
        .join(Version, Version.id == Revision.version_id)
        .join(Model, Model.id == Revision.model_id)
        .where(which)
    )
    return [
        RevisionFacts(
            id=id,
            number=number,
            model=model,
            version=version,
            resources=resources,
            env_names=tuple(env_names),
            config_names=config_names or {},
            runtime=runtime,
            format=format,
            created_at=created_at,
        )
        for id, number, resources, env_names, config_names, runtime, created_at, model, version, format in (
            await session.execute(query)
        )
    ]
