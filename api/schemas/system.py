"""What is told of an installation and its switches."""

from typing import Literal

from pydantic import Field

from api.schemas.base import Answer, Body, Instant, shown_as
from core.errors import Json
from state.documents import instant
from state.queries.installation import Holder, Seen
from state.switches import SWITCHES, Off

LONGEST_OFF_S = 366 * 86_400


class Readiness(Answer):
    """Whether requests should be sent here; what is not ready is named, each with its reason."""

    status: Literal["ready", "not ready"]
    waiting_for: dict[str, str] | None = None
    checked: list[str] | None = None


class LaneShown(Answer):
    """One lane of work; `oldest_s` is how long the oldest due row has waited."""

    waiting: int = Field(description="Rows that are due; counted up to 10,000.")
    oldest_s: float
    working: int = Field(description="Rows that a worker holds: its busy slots.")
    slots: int = Field(description="How many the workers that are alive can hold.")


class SwitchBody(Body):
    """Why something is switched off, and for how long; without `expires_in_s` until it is switched on."""

    model_config = shown_as({"reason": "the database moves to another host", "expires_in_s": 1800})

    reason: str = Field(min_length=1, max_length=500)
    expires_in_s: int | None = Field(None, ge=1, le=LONGEST_OFF_S)


class SwitchShown(Answer):
    """One switch; what it does `while_off` happens only then."""

    name: str
    off: bool
    while_off: str
    reason: str | None
    switched_by: str | None
    since: Instant | None
    expires_at: Instant | None


class SwitchList(Answer):
    """All switches."""

    items: list[SwitchShown]


class LeaseShown(Answer):
    """Who is the active caretaker of a name: a process' id, or nobody."""

    name: str
    holder: str | None
    until: Instant
    epoch: int


class ProcessShown(Answer):
    """A process of the installation."""

    id: str
    role: str
    host: str
    pid: int
    version: str
    schema_known: str = Field(description="The newest schema that its release knows.")
    address: str | None
    alive: bool
    started_at: Instant
    seen_at: Instant
    details: dict[str, object] = Field(description="Its pools of connections, a worker's slots, what a node can run.")


class PoolShown(Answer):
    """A pool of database connections of the process that answers."""

    size: int
    in_use: int


class DiskShown(Answer):
    """The file system of the data folder of the process that answers."""

    total_bytes: int
    free_bytes: int


class SystemShown(Answer):
    """This installation; what is null is for its operator."""

    version: str
    database: str
    schema_revision: str
    routing_version: int
    uptime_s: float
    settings: dict[str, str | int | float | dict[str, int] | None]
    lanes: dict[str, LaneShown]
    switches: list[SwitchShown]
    leases: list[LeaseShown] | None
    processes: list[ProcessShown] | None
    pools: dict[str, PoolShown] | None
    disk: DiskShown | None


def switch_document(name: str, off: Off | None) -> dict[str, Json]:
    """One switch, off or on."""
    return {
        "name": name,
        "off": off is not None,
        "while_off": SWITCHES[name],
        "reason": off.reason if off else None,
        "switched_by": off.actor if off else None,
        "since": instant(off.since) if off else None,
        "expires_at": instant(off.expires_at) if off else None,
    }


def lease_document(holder: Holder) -> dict[str, Json]:
    """One caretaker's lease."""
    return {"name": holder.name, "holder": holder.owner, "until": instant(holder.until), "epoch": holder.epoch}


def process_document(seen: Seen) -> dict[str, Json]:
    """One process."""
    row = seen.row
    return {
        "id": row.id,
        "role": row.role,
        "host": row.host,
        "pid": row.pid,
        "version": row.version,
        "schema_known": row.schema,
        "address": row.address,
        "alive": seen.is_alive,
        "started_at": instant(row.started_at),
        "seen_at": instant(row.seen_at),
        "details": row.details,
    }
