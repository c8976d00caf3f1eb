"""The tables about the installation itself: who runs, who takes care of what, what is switched off."""

from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from state.tables import Base


class Lease(Base):
    """Who is the one active caretaker of a name."""

    __tablename__ = "leases"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(80))
    until: Mapped[int]
    epoch: Mapped[int]


class Counter(Base):
    """`routing_version`: raised in the commit that changes what gateways may route to."""

    __tablename__ = "counters"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[int]


class Process(Base):
    """A process of this installation, from its start until it says goodbye or is not seen for a while."""

    __tablename__ = "processes"
    id: Mapped[str] = mapped_column(String(80), primary_key=True)
    role: Mapped[str] = mapped_column(String(20))  # embedded, api, worker, node
    host: Mapped[str] = mapped_column(String(200))
    pid: Mapped[int]
    version: Mapped[str] = mapped_column(String(40))
    schema: Mapped[str] = mapped_column(String(20))  # the newest schema that its release knows
    address: Mapped[str | None] = mapped_column(Text)  # where others reach it, as the node's logs
    details: Mapped[dict[str, Any]]
    started_at: Mapped[int]
    seen_at: Mapped[int]


class Switch(Base):
    """Something that an operator switched off, why, and until when."""

    __tablename__ = "switches"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)  # schedules, webhooks, deploys, read_only
    actor: Mapped[str] = mapped_column(String(200))
    reason: Mapped[str] = mapped_column(Text)
    since: Mapped[int]
    expires_at: Mapped[int | None]
