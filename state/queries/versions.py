"""Versions: finding them by number, alias or digest, and what the workers need to know of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select

from core.errors import NotFound
from state.database import Session
from state.queries.lists import Page, View, page
from state.queries.rows import among_ids
from state.tables import Alias, Model, Operation, Revision, Service, Version

GONE = ("deleting", "deleted")
LONGEST_NUMBER = 15  # digits; a number beyond is no version and would not fit the column


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What an inspection or a test needs of a version; `task` is the uploader's override.

    The digest is empty until the source is fetched.
    """

    source_uri: str | None
    digest: str
    task: str | None
    signature: Mapping[str, Any] | None
    features: Mapping[str, Sequence[str]] | None


async def version_facts(session: Session, version_id: str) -> VersionFacts:
    """The facts of a version that exists."""
    row = (await session.scalars(select(Version).where(Version.id == version_id))).one()
    return VersionFacts(row.source_uri, row.digest, row.task, row.signature, row.features)


async def find_version(session: Session, model: Model, given: str) -> Version:
    """A version by number, `latest` (the newest ready one), `@alias` or digest. Raises `NotFound`."""
    query = select(Version).where(Version.model_id == model.id, Version.status.not_in(GONE))
    if given == "latest":
        query = query.where(Version.status == "ready")
    elif given.startswith("@"):
        query = query.join(Alias, Alias.version_id == Version.id)
        query = query.where(Alias.model_id == model.id, Alias.name == given[1:])
    elif given.startswith("sha256:"):
        query = query.where(Version.digest == given)
    elif given.isascii() and given.isdecimal() and len(given) <= LONGEST_NUMBER:
        query = query.where(Version.number == int(given))
    else:
        raise NotFound(
            f"'{given[:80]}' names no version: write a number, 'latest', '@alias' or 'sha256:…'", model=model.name
        )
    version = (await session.scalars(query.order_by(Version.number.desc()).limit(1))).first()
    if version is None:
        missing = "no version that is ready" if given == "latest" else f"no version '{given[:80]}'"
        raise NotFound(f"model '{model.name}' has {missing}; GET /api/v1/models/{model.name}/versions lists them")
    return version


async def list_versions(session: Session, model: Model, view: View) -> Page[Version]:
    """The versions of a model."""
    return await page(
        session, select(Version).where(Version.model_id == model.id, Version.status != "deleted"), Version, view
    )


async def alias_names(session: Session, version_ids: Sequence[str]) -> Mapping[str, list[str]]:
    """The aliases that name each version."""
    found: dict[str, list[str]] = {}
    query = select(Alias.version_id, Alias.name).where(among_ids(session, Alias.version_id, version_ids))
    for version_id, name in await session.execute(query):
        found.setdefault(version_id, []).append(name)
    return found


async def living_versions(session: Session, model_id: str) -> Sequence[Version]:
    """The versions of a model that are not deleted, locked, oldest first."""
    query = select(Version).where(Version.model_id == model_id, Version.status != "deleted")
    return list(await session.scalars(query.order_by(Version.number).with_for_update(key_share=True)))


async def has_living_versions(session: Session, model_id: str) -> bool:
    """Whether a version of the model is not deleted."""
    query = select(Version.id).where(Version.model_id == model_id, Version.status != "deleted")
    return (await session.scalars(query.limit(1))).first() is not None


async def free_versions(session: Session, model_id: str) -> Sequence[str]:
    """The ids of the model's versions that are being deleted and that no service uses any more."""
    query = select(Version.id).where(Version.model_id == model_id, Version.status == "deleting").order_by(Version.id)
    used = await used_versions(session, model_id)
    return [id for id in await session.scalars(query) if id not in used]


async def used_versions(session: Session, model_id: str) -> set[str]:
    """The ids of the model's versions that services run, or are asked to."""
    either = or_(Revision.id == Service.revision_id, Revision.id == Service.live_revision_id)
    query = select(Revision.version_id).join(Service, either)
    return set(await session.scalars(query.where(Revision.model_id == model_id, Service.status != "deleted")))


async def inspection_of(session: Session, version_id: str) -> str | None:
    """The id of the version's inspection that is not finished."""
    query = select(Operation.id).where(
        Operation.target_id == version_id,
        Operation.kind == "version.inspect",
        Operation.status.in_(["queued", "running"]),
    )
    return (await session.scalars(query.limit(1))).first()
