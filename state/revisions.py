"""Revisions: immutable deployment specs, made under the lock of their service; what may be secret in them is sealed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from core.clock import now_micros
from core.ids import new_id
from core.secrets import Vault
from state.database import WriteSession
from state.parts import FORMAT
from state.queries.services import last_revision_number
from state.releases import check_parts_known
from state.tables import Model, Revision, Service, Version

Resources = Mapping[str, float | int | None]


@dataclass(frozen=True, slots=True)
class Spec:
    """What a revision runs. `config_files` are texts by their paths, `runtime` is what is pinned."""

    model: Model
    version: Version
    resources: Resources
    env: Mapping[str, str]
    config_files: Mapping[str, str]
    runtime: Mapping[str, str]


async def add_revision(session: WriteSession, vault: Vault, service: Service, spec: Spec) -> Revision:
    """The next revision of a locked service. Raises `UpgradeUnderWay` for one that an older node could not run."""
    if spec.version.format == FORMAT:
        await check_parts_known(session)
    revision_id = new_id("rev")
    revision = Revision(
        id=revision_id,
        tenant_id=service.tenant_id,
        created_at=now_micros(),
        service_id=service.id,
        number=await last_revision_number(session, service.id) + 1,
        model_id=spec.model.id,
        version_id=spec.version.id,
        resources=dict(spec.resources),
        env_sealed=_sealed(vault, spec.env, _env_purpose(revision_id)),
        env_names=sorted(spec.env),
        config_sealed=_sealed(vault, spec.config_files, _config_purpose(revision_id)),
        config_names={name: len(spec.config_files[name].encode()) for name in sorted(spec.config_files)} or None,
        runtime=dict(spec.runtime) or None,
    )
    session.add(revision)
    await session.flush()
    return revision


def spec_of(vault: Vault, revision: Revision, model: Model, version: Version) -> Spec:
    """What a revision of this model and version runs. Raises `SecretUnreadable`."""
    return Spec(
        model,
        version,
        revision.resources,
        variables_of(vault, revision),
        config_of(vault, revision.config_sealed, revision.id),
        revision.runtime or {},
    )


def variables_of(vault: Vault, revision: Revision) -> dict[str, str]:
    """The environment that a revision gives to its replicas. Raises `SecretUnreadable`."""
    return _opened(vault, revision.env_sealed, _env_purpose(revision.id))


def config_of(vault: Vault, sealed: str | None, revision_id: str) -> dict[str, str]:
    """The config files that a revision gives to its replicas: texts by their paths. Raises `SecretUnreadable`."""
    return _opened(vault, sealed, _config_purpose(revision_id))


def run_the_same(vault: Vault, one: Revision, other: Revision) -> bool:
    """Whether replicas of both would be alike."""
    return _open_part(one) == _open_part(other) and _sealed_part(vault, one) == _sealed_part(vault, other)


def _config_purpose(revision_id: str) -> str:
    """What the sealed config files of a revision are bound to."""
    return f"config:{revision_id}"


def _env_purpose(revision_id: str) -> str:
    """What the sealed variables of a revision are bound to; the node opens them."""
    return f"revision:{revision_id}"


def _open_part(revision: Revision) -> tuple[object, ...]:
    """What can be compared without opening anything."""
    pinned, names = revision.runtime or {}, revision.config_names or {}
    return revision.version_id, revision.resources, revision.env_names, names, pinned


def _sealed_part(vault: Vault, revision: Revision) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return variables_of(vault, revision), config_of(vault, revision.config_sealed, revision.id)


def _sealed(vault: Vault, values: Mapping[str, str], purpose: str) -> str | None:
    return vault.seal(json.dumps(dict(values)), purpose) if values else None


def _opened(vault: Vault, sealed: str | None, purpose: str) -> dict[str, str]:
    values: dict[str, str] = {} if sealed is None else json.loads(vault.open(sealed, purpose))
    return values
