"""Models: finding and listing them, what a list shows of their versions, and who uses them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, or_, select

from core.errors import NotFound
from state.database import Session
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
    return await page(
        session, select(Model).where(Model.tenant_id == tenant_id, Model.status != "deleted"), Model, view
    )


async def summaries(session: Session, models: Sequence[Model]) -> Mapping[str, ModelSummary]:
    """What there is of versions, by the id of the model."""
    ids = [model.id for model in models]
    ready = func.max(Version.number).filter(Version.status == "ready")
    columns = (Version.model_id, func.count(), ready, func.max(Version.number))
    alive = (Version.model_id.in_(ids), Version.status.not_in(["deleting", "deleted"]))
    aliases = await _aliases(session, ids)
    found = {
        model_id: ModelSummary(count, latest, newest, aliases.get(model_id, {}))
        for model_id, count, latest, newest in await session.execute(
            select(*columns).where(*alive).group_by(Version.model_id)
        )
    }
    return {model_id: found.get(model_id, ModelSummary()) for model_id in ids}


async def users_of_model(session: Session, model_id: str) -> Sequence[str]:
    """The names of the services that run the model, or are asked to."""
    return await _users(session, Revision.model_id == model_id)


async def users_of_version(session: Session, version_id: str) -> Sequence[str]:
    """The names of the services that run the version, or are asked to."""
    return await _users(session, Revision.version_id == version_id)


async def _users(session: Session, uses: object) -> Sequence[str]:
    either = or_(Revision.id == Service.revision_id, Revision.id == Service.live_revision_id)
    query = select(Service.name).join(Revision, either).where(uses, Service.status != "deleted")  # type: ignore[arg-type]  # a clause
    return list(await session.scalars(query.distinct().order_by(Service.name)))


async def _aliases(session: Session, model_ids: Sequence[str]) -> Mapping[str, dict[str, int]]:
    query = select(Alias.model_id, Alias.name, Version.number).join(Version, Version.id == Alias.version_id)
    found: dict[str, dict[str, int]] = {}
    for model_id, name, number in await session.execute(
        query.where(Alias.model_id.in_(model_ids)).order_by(Alias.name)
    ):
        found.setdefault(model_id, {})[name] = number
    return found
