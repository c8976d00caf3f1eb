"""Versions: finding them by number, alias or digest, and what the workers need to know of one."""

from dataclasses import dataclass

from sqlalchemy import select

from state.database import Session
from state.tables import Version


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What an inspection needs of a version; `task` is the uploader's override."""

    digest: str
    format: str
    task: str | None


async def version_facts(session: Session, version_id: str) -> VersionFacts:
    """The facts of a version that exists."""
    row = (await session.scalars(select(Version).where(Version.id == version_id))).one()
    return VersionFacts(row.digest, row.format, row.task)
