"""Revisions: immutable deployment specs, made under the lock of their service; their variables are sealed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from core.clock import now_micros
from core.ids import new_id
from core.secrets import Vault
from state.database import WriteSession
from state.queries.services import last_revision_number
from state.tables import Model, Revision, Service, Version

Resources = Mapping[str, float | int | None]


@dataclass(frozen=True, slots=True)
class Spec:
    """What a revision runs."""

    model: Model
    version: Version
    resources: Resources
    env: Mapping[str, str]


async def add_revision(session: WriteSession, vault: Vault, service: Service, spec: Spec) -> Revision:
    """The next revision of a locked service."""
    revision_id = new_id("rev")
    sealed = vault.seal(json.dumps(dict(spec.env)), _purpose(revision_id)) if spec.env else None
    revision = Revision(
        id=revision_id,
        tenant_id=service.tenant_id,
        created_at=now_micros(),
        service_id=service.id,
        number=await last_revision_number(session, service.id) + 1,
        model_id=spec.model.id,
        version_id=spec.version.id,
        resources=dict(spec.resources),
        env_sealed=sealed,
        env_names=sorted(spec.env),
    )
    session.add(revision)
    await session.flush()
    return revision


def variables_of(vault: Vault, revision: Revision) -> dict[str, str]:
    """The environment that a revision gives to its replicas."""
    if revision.env_sealed is None:
        return {}
    env: dict[str, str] = json.loads(vault.open(revision.env_sealed, _purpose(revision.id)))
    return env


def run_the_same(vault: Vault, one: Revision, other: Revision) -> bool:
    """Whether replicas of both would be alike."""
    if (one.version_id, one.resources, one.env_names) != (other.version_id, other.resources, other.env_names):
        return False
    return variables_of(vault, one) == variables_of(vault, other)


def _purpose(revision_id: str) -> str:
    """What the sealed variables of a revision are bound to; the node opens them."""
    return f"revision:{revision_id}"
