"""What an operator switched off, why and until when; a switch whose time is over counts as on."""

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from sqlalchemy import ColumnElement, Select, delete, exists, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from core.clock import Micros, rfc3339
from core.errors import Unavailable
from state.database import Session, WriteSession, db_now
from state.installation import Switch

# What each of them does while it is off.
SWITCHES: Final[Mapping[str, str]] = {
    "schedules": "no run is started by its schedule or a backfill, which wait; starting one by hand is possible",
    "webhooks": "no delivery is attempted; what is to be told waits, and goes out afterwards",
    "deploys": "no deploy, update, resume or restart is accepted, and none that waits begins",
    "read_only": "every change is refused but those of switches; immediate predictions are answered",
}
DEPLOYS: Final = ("service.deploy", "service.update", "service.rollback", "service.restart", "service.resume")
# Which lanes have work to do again once it is on.
WAKES: Final[Mapping[str, Collection[str]]] = {"webhooks": ("deliver",), "deploys": ("control",)}
LONGEST_RETRY_S = 3600
RETRY_S = 60  # for a switch without an end


class SwitchedOff(Unavailable):
    """An operator has switched this off for now."""

    code, title = "switched_off", "Switched off by an operator"


class ReadOnly(SwitchedOff):
    """An operator lets nothing be changed for now."""

    code, title = "read_only", "Nothing can be changed now"


@dataclass(frozen=True, slots=True)
class Off:
    """One switch that is off; `ends_at` is when its time is over by `time.monotonic`: clocks of hosts differ."""

    name: str
    actor: str
    reason: str
    since: Micros
    expires_at: Micros | None
    ends_at: float = math.inf

    @property
    def left_s(self) -> float:
        """How long it is still off; infinite without an end."""
        return self.ends_at - time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether its time has passed."""
        return self.left_s <= 0


async def read_switches(session: Session) -> dict[str, Off]:
    """The switches that are off now, by name."""
    found: dict[str, Off] = {}
    for row, now in await session.execute(_switched_off()):
        left_s = math.inf if row.expires_at is None else (row.expires_at - now) / 1_000_000
        ends_at = time.monotonic() + left_s
        found[row.name] = Off(row.name, row.actor, row.reason, row.since, row.expires_at, ends_at)
    return found


async def switch_off(session: WriteSession, name: str, actor: str, reason: str, for_micros: int | None) -> None:
    """Switch off, or change why and for how long something is off; without `for_micros` until it is switched on."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    until = None if for_micros is None else db_now() + for_micros
    row = insert(Switch).values(name=name, actor=actor, reason=reason, since=db_now(), expires_at=until)
    said = {key: row.excluded[key] for key in ("actor", "reason", "since", "expires_at")}
    await session.execute(row.on_conflict_do_update(index_elements=[Switch.name], set_=said))
    session.tell("changed", "switch", name)


async def switch_on(session: WriteSession, name: str) -> None:
    """Switch on again; what waited for it goes on at once."""
    await session.execute(delete(Switch).where(Switch.name == name))
    session.tell("changed", "switch", name)
    for lane in WAKES.get(name, ()):
        session.tell("work", lane, "")


def is_off(name: str) -> ColumnElement[bool]:
    """The condition that a switch is off, for queries that must not miss it: one probe of a table with four rows."""
    return exists().where(Switch.name == name, _in_force())


async def check_deploys(session: Session) -> None:
    """Raises `SwitchedOff` while nothing may be deployed."""
    off = (await read_switches(session)).get("deploys")
    if off is not None:
        raise refusal(off)


def refusal(off: Off) -> SwitchedOff:
    """What a caller is told of something that is off: by whom, why, until when."""
    kind = ReadOnly if off.name == "read_only" else SwitchedOff
    what = "changes are" if off.name == "read_only" else f"{off.name} are"
    until = None if off.expires_at is None else rfc3339(off.expires_at)
    error = kind(
        f"{what} switched off by {off.actor}: {off.reason}", switch=off.name, reason=off.reason, expires_at=until
    )
    left_s = RETRY_S if off.expires_at is None else math.ceil(off.left_s)
    error.retry_after_s = min(max(left_s, 1), LONGEST_RETRY_S)
    return error


@cache
def _switched_off() -> Select[Switch, int]:
    return select(Switch, db_now()).where(_in_force())


def _in_force() -> ColumnElement[bool]:
    return or_(Switch.expires_at.is_(None), Switch.expires_at > db_now())
