"""What a service's predictions and processes were like lately: the database adds the samples up, window by window.

Windows share their beginning: each sample is counted for the shortest window that it lies in, and the longer ones
contain the shorter.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, case, cast, func, literal_column, select

from core.clock import Micros
from state.database import Session, db_now
from state.queries.node import ALIVE
from state.samples import Sample
from state.tables import Replica, Service

SECOND = 1_000_000


@dataclass(slots=True)
class Figures:
    """What was sampled within a window. `latency` counts by `state.latencies`' buckets; `cpu_micros` is the time that
    processors spent from `seen_from` to `seen_until`; `memory_bytes` is the most that was used at once."""

    requests: int = 0
    errors: int = 0
    refused: int = 0
    latency: Counter[int] = field(default_factory=Counter)
    cpu_micros: int = 0
    seen_from: Micros | None = None
    seen_until: Micros | None = None
    memory_bytes: int | None = None

    def add(self, other: "Figures") -> None:
        """Count what `other` has counted, too."""
        self.requests += other.requests
        self.errors += other.errors
        self.refused += other.refused
        self.latency.update(other.latency)
        self.cpu_micros += other.cpu_micros
        self.seen_from = _either(min, self.seen_from, other.seen_from)
        self.seen_until = _either(max, self.seen_until, other.seen_until)
        self.memory_bytes = _either(max, self.memory_bytes, other.memory_bytes)

    @property
    def cores(self) -> float | None:
        """How many processors were busy on average, while anything of it ran."""
        if self.seen_from is None or self.seen_until is None or self.seen_until <= self.seen_from:
            return None
        return self.cpu_micros / (self.seen_until - self.seen_from)


@dataclass(frozen=True, slots=True)
class ReplicaFigures:
    """A replica, and its figures in the order of the windows."""

    id: str
    status: str
    windows: Sequence[Figures]


@dataclass(frozen=True, slots=True)
class ServiceFigures:
    """A service's figures in the order of the windows, then those of its replicas, the newest first."""

    as_of: Micros
    windows: Sequence[Figures]
    replicas: Sequence[ReplicaFigures]


Pieces = dict[str | None, list[Figures]]


async def service_figures(session: Session, service: Service, windows_s: Sequence[int]) -> ServiceFigures:
    """The sums over the last seconds, for each of these windows; the shortest first. Replicas are those that are there
    and those that have samples."""
    now = (await session.scalars(select(db_now()))).one()
    pieces = await _pieces(session, service, now, windows_s)
    alive = select(Replica.id).where(Replica.service_id == service.id, Replica.status.in_(ALIVE))
    for replica_id in await session.scalars(alive):
        pieces.setdefault(replica_id, [Figures() for _ in windows_s])
    ids = [replica_id for replica_id in pieces if replica_id is not None]
    statuses = (await session.execute(select(Replica.id, Replica.status).where(Replica.id.in_(ids)))).all()
    replicas = [ReplicaFigures(id, status, _widened(pieces[id])) for id, status in sorted(statuses, reverse=True)]
    total = [Figures() for _ in windows_s]
    for ages in pieces.values():
        for piece, whole in zip(ages, total, strict=True):
            whole.add(piece)
    for age, memory_bytes in await session.execute(_memory(service, now, windows_s)):
        total[age].memory_bytes = int(memory_bytes)
    return ServiceFigures(now, _widened(total), replicas)


async def _pieces(session: Session, service: Service, now: Micros, windows_s: Sequence[int]) -> Pieces:
    """By replica, what is in a window and in none that is shorter."""
    found: Pieces = {}
    for replica_id, age, *sums in await session.execute(_sums(service, now, windows_s)):
        requests, errors, refused, cpu_micros, *seen = (None if value is None else int(value) for value in sums)
        of_replica = found.setdefault(replica_id, [Figures() for _ in windows_s])
        of_replica[age] = Figures(requests or 0, errors or 0, refused or 0, Counter(), cpu_micros or 0, *seen)
    dialect = session.get_bind().dialect.name
    for replica_id, age, bucket, count in await session.execute(_latencies(service, now, windows_s, dialect)):
        if (ages := found.get(replica_id)) is not None:  # not those of a sample that came a moment ago
            ages[age].latency[int(bucket)] = int(count)
    return found


def _widened(pieces: Sequence[Figures]) -> list[Figures]:
    """Each window with what the shorter ones have."""
    found: list[Figures] = []
    for piece in pieces:
        whole = Figures()
        whole.add(piece)
        if found:
            whole.add(found[-1])
        found.append(whole)
    return found


def _age(now: Micros, windows_s: Sequence[int]) -> ColumnElement[int]:
    """The index of the shortest window that a sample lies in."""
    shorter = [(Sample.created_at > now - window_s * SECOND, index) for index, window_s in enumerate(windows_s[:-1])]
    last = literal_column(str(len(windows_s) - 1), Integer)
    return (
        case(*((lies, literal_column(str(index), Integer)) for lies, index in shorter), else_=last) if shorter else last
    )


def _lately(service: Service, now: Micros, windows_s: Sequence[int]) -> tuple[ColumnElement[bool], ...]:
    return Sample.service_id == service.id, Sample.created_at > now - windows_s[-1] * SECOND


def _sums(service: Service, now: Micros, windows_s: Sequence[int]) -> Select[*tuple[Any, ...]]:
    age = _age(now, windows_s).label("age")
    is_usage = Sample.over_micros.is_not(None)
    return (
        select(
            Sample.replica_id,
            age,
            func.sum(Sample.requests),
            func.sum(Sample.errors),
            func.sum(Sample.refused),
            func.sum(Sample.cpu_micros),
            func.min(Sample.created_at - Sample.over_micros),
            func.max(case((is_usage, Sample.created_at))),
            func.max(Sample.memory_bytes),
        )
        .where(*_lately(service, now, windows_s))
        .group_by(Sample.replica_id, "age")
    )


def _latencies(service: Service, now: Micros, windows_s: Sequence[int], dialect: str) -> Select[*tuple[Any, ...]]:
    """How many fell into which bucket: opened and added up where they lie, because a busy service has many."""
    each = func.jsonb_each_text if dialect == "postgresql" else func.json_each
    counted = each(Sample.latency).table_valued("key", "value", joins_implicitly=True)
    return (
        select(
            Sample.replica_id,
            _age(now, windows_s).label("age"),
            counted.c.key.label("bucket"),
            func.sum(cast(counted.c.value, Integer)),
        )
        .where(*_lately(service, now, windows_s), Sample.latency.is_not(None))
        .group_by(Sample.replica_id, "age", "bucket")
    )


def _memory(service: Service, now: Micros, windows_s: Sequence[int]) -> Select[*tuple[Any, ...]]:
    """The most that all replicas used together: the node samples all of them at the same instant."""
    instants = (
        select(_age(now, windows_s).label("age"), func.sum(Sample.memory_bytes).label("bytes"))
        .where(*_lately(service, now, windows_s), Sample.memory_bytes.is_not(None))
        .group_by(Sample.created_at)
        .subquery()
    )
    return select(instants.c.age, func.max(instants.c.bytes)).group_by(instants.c.age)


def _either(choose: Callable[[int, int], int], one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return choose(one, other)
