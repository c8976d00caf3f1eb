"""Models: finding and listing them, what a list shows of their versions, and who uses them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, CompoundSelect, String, cast, delete, func, null, or_, select, union_all

from core.errors import NotFound
from state.compiled import among, listed
from state.database import Session, WriteSession
from state.queries.lists import Page, View, page
from state.tables import Alias, Model, Revision, Service, Version


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A model's versions in short: how many, the newest ready one and the newest of all, aliases by name."""

    count: int = 0
    latest: int | None = None
    newest: int | None = None
    aliases: Mapping[str, int] = field(default_factory=dict)


async def find_model(session: Session, tenant_id: str, name: str) -> Model:
    """The tenant's model of this name. Raises `NotFound`."""
    model = await seek_model(session, tenant_id, name)
    if model is None:
        raise NotFound(f"no model is named '{name[:60]}'; GET /api/v1/models lists them")
    return model


async def seek_model(session: Session, tenant_id: str, name: str) -> Model | None:
    """The same, or nothing."""
    query = select(Model).where(Model.tenant_id == tenant_id, Model.name == name, Model.status != "deleted")
    return (await session.execute(query)).scalar_one_or_none()


async def list_models(session: Session, tenant_id: str, view: View) -> Page[Model]:
    """The tenant's models."""
    query = select(Model).where(Model.tenant_id == tenant_id, Model.status != "deleted")
    return await page(session, query, Model, view)


async def summaries(session: Session, models: Sequence[Model]) -> Mapping[str, ModelSummary]:
    """What there is of versions, by the id of the model."""
    ids, dialect = [model.id for model in models], session.get_bind().dialect.name
    counts: dict[str, tuple[int, int | None, int | None]] = {}
    aliases: dict[str, dict[str, int]] = {}
    connection = await session.connection()
    found = await connection.execute(_summing_up(dialect), {"ids": listed(ids, dialect)})
    for model_id, alias, number, latest, newest in found.fetchall():
        if alias is None:
            counts[model_id] = (number, latest, newest)
        else:
            aliases.setdefault(model_id, {})[alias] = number
    by_name = {id: dict(sorted(named.items())) for id, named in aliases.items()}
    summed_up = {id: ModelSummary(*count, by_name.get(id, {})) for id, count in counts.items()}
    nothing = ModelSummary()
    return {id: summed_up.get(id, nothing) for id in ids}


@cache
def _summing_up(dialect: str) -> CompoundSelect[Any]:
    """The versions of the models `ids` summed up, and a row for each alias with its version; in one question, for each
    takes a page of models as long as fifty of them."""
    ready = func.max(Version.number).filter(Version.status == "ready")
    versions = (
        select(Version.model_id, cast(null(), String), func.count(), ready, func.max(Version.number))
        .where(among(Version.model_id, "ids", dialect), Version.status.not_in(["deleting", "deleted"]))
        .group_by(Version.model_id)
    )
    none = cast(null(), BigInteger)
    aliases = (
        select(Alias.model_id, Alias.name, Version.number, none, none)
        .join(Version, Version.id == Alias.version_id)
        .where(among(Alias.model_id, "ids", dialect))
    )
    return union_all(versions, aliases)


async def users_of_model(session: Session, model_id: str) -> Sequence[str]:
    """The names of the services that run the model, or are asked to."""
    return await _users(session, Revision.model_id == model_id)


async def users_of_version(session: Session, version_id: str) -> Sequence[str]:
    """The names of the services that run the version, or are asked to."""
    return await _users(session, Revision.version_id == version_id)


async def forget_aliases(session: WriteSession, version_id: str) -> None:
    """No alias means this version any more."""
    await session.execute(delete(Alias).where(Alias.version_id == version_id))


async def _users(session: Session, uses: object) -> Sequence[str]:
    either = or_(Revision.id == Service.revision_id, Revision.id == Service.live_revision_id)
    query = select(Service.name).join(Revision, either).where(uses, Service.status != "deleted")  # type: ignore[arg-type]  # a clause
    return list(await session.scalars(query.distinct().order_by(Service.name)))
