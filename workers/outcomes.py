"""What a handler answers. It never writes a status and never commits: the executor does, from these values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from core.errors import Json

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation is: `percent` of all of it, a stage in one word, and what a person wants to know."""

    percent: int
    stage: str
    detail: str | None = None

    def as_json(self) -> dict[str, Json]:
        """As the row keeps it and the API shows it."""
        return {"percent": self.percent, "stage": self.stage, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Done:
    """The effect is there. `row` are columns of the claimed row itself, `target` columns of the operation's target,
    written together with the kind's succeeding move."""

    result: dict[str, Any] = field(default_factory=dict)
    row: Values = field(default_factory=dict)
    target: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wait:
    """Applied, not there yet: the claim is given back, no attempt is used; the watcher wakes it, or `after` does.

    An operation may say how far it is.
    """

    after: timedelta
    reason: str
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """This try failed and another may work; without `after` the executor backs off exponentially with full jitter."""

    reason: str
    after: timedelta | None = None
    row: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """It cannot take effect. `problem` is an RFC 9457 document (`PlatformError.as_problem()`)."""

    problem: dict[str, Any]
    row: Values = field(default_factory=dict)
    target: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Canceled:
    """Stopped because somebody asked for it."""

    reason: str


Outcome = Done | Wait | Retry | Failed | Canceled
