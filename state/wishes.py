"""What is asked of a service, and the spec that comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import ColumnElement

from core.clock import to_micros
from state.cataloguing import Value
from state.config_files import check_together
from state.database import WriteSession, db_now
from state.references import LATEST
from state.revisions import Resources, Spec
from state.runtimes import check_pinned
from state.tables import Model, Version

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Expiry:
    """When a service is to be deleted by the platform; never without `after`."""

    after: timedelta | None

    @property
    def at(self) -> ColumnElement[int] | None:
        """The instant, counted from now, both by the database's clock: it decides when the time has come."""
        return None if self.after is None else db_now() + to_micros(self.after)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a service; None leaves a part as it is, and inside a mapping removes the entry.

    `clears_env` and `clears_config_files` remove all that is not given. An `expiry` counts from when the wish is taken.
    With `follow` the service is to run what `version`, a reference, means from now on (see `state.references`).
    """

    model: str | None = None
    version: str | None = None
    replicas: int | None = None
    resources: Resources | None = None
    env: Mapping[str, str | None] | None = None
    clears_env: bool = False
    config_files: Mapping[str, str | None] | None = None
    clears_config_files: bool = False
    runtime: Mapping[str, str | None] | None = None
    about: Mapping[str, Value] = field(default_factory=dict)
    expiry: Expiry | None = None
    follow: bool | None = None

    @property
    def named_version(self) -> str | None:
        """The version as the wish spells it; another model's newest where it names only the model."""
        return self.version or (None if self.model is None else LATEST)

    @property
    def is_about_running(self) -> bool:
        """Whether it says anything about what runs, and not only about descriptions."""
        parts = (self.model, self.version, self.replicas, self.resources, self.env, self.config_files, self.runtime)
        return self.clears_env or self.clears_config_files or any(part is not None for part in parts)


def changed(old: Spec, model: Model, version: Version, wish: Wish) -> Spec:
    """A spec with the changes that the wish asks for."""
    return Spec(
        model,
        version,
        resources=_merged({**old.resources, **(wish.resources or {})}),
        env=_merged({**({} if wish.clears_env else old.env), **(wish.env or {})}),
        config_files=_merged({**({} if wish.clears_config_files else old.config_files), **(wish.config_files or {})}),
        runtime=_merged({**old.runtime, **(wish.runtime or {})}),
    )


async def check_spec(session: WriteSession, new: Spec, old: Spec | None = None) -> None:
    """What can only be told of the whole. Raises `InvalidField`, `RuntimesUnknown`."""
    check_together(new.config_files)
    is_pinned_anew = old is None or (new.runtime, new.version) != (old.runtime, old.version)
    if new.runtime and is_pinned_anew:
        await check_pinned(session, new.runtime, new.version)


def _merged(values: Mapping[str, V | None]) -> dict[str, V]:
    return {name: value for name, value in values.items() if value is not None}
