"""Whose turn it is: which due rows of a lane are claimed next.

By priority and due time while little waits. When a claim took all it could, so that more may wait, the next one goes
round the tenants and what they share (services, receivers): nobody's backlog holds up what another one sent later.
Each query reads its answer from a partial index; what it costs does not grow with what is finished, or with a backlog.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, String, exists, func, literal, select, tuple_
from sqlalchemy.orm import aliased

from state.compiled import Query, among, compiled, listed, parameter
from state.database import db_now
from state.direct import DirectSession, every_column
from state.gates import gates
from state.tables import Delivery, Operation, Prediction
from state.worktables import LANES, Work

# What of a tenant's rows must not hold up its neighbours. Operations need none: one at a time holds a resource.
SHARES: Mapping[type[Any], str] = {Prediction: "service_id", Delivery: "receiver"}
MOST_TENANTS = 8  # of one claim; the next goes on behind the last


@dataclass(slots=True)
class Turns:
    """Where one claimer stands in the round of one lane."""

    is_round_next: bool = False
    tenant: str = ""  # the last one that had a turn
    shares: dict[str, str] = field(default_factory=dict)  # by tenant: the last one that had a turn


@dataclass(frozen=True, slots=True)
class Room:
    """How many rows may be claimed now, at most how many that share something, and how many of those are held."""

    rows: int
    each: int | None = None
    held: Mapping[str, int] = field(default_factory=dict)

    @property
    def full(self) -> list[str]:
        """What may hold no more."""
        return [] if self.each is None else [share for share, count in self.held.items() if count >= self.each]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Locked rows, the best first, and whether more may be due."""

    rows: Sequence[Work]
    more: bool


async def choose(session: DirectSession, lane: str, room: Room, turns: Turns) -> Chosen:
    """Lock the rows whose turn it is."""
    table = LANES[lane].table
    full = room.full
    goes_round = turns.is_round_next or bool(full)
    found: list[Work] = []
    if goes_round:
        found = await _round(session, lane, room, turns, full)
    if not full and len(found) < room.rows:
        known = {row.id for row in found}
        best = await session.rows(table, best_due(lane, session.dialect), most=room.rows)
        found += [row for row in best if row.id not in known][: room.rows - len(found)]
    kept = _within(found, room)
    more = len(found) >= room.rows or len(kept) < len(found) or bool(full and kept)
    # Every other claim of a backlog goes by due time alone: the oldest never waits for a long round.
    turns.is_round_next = more and not goes_round
    return Chosen(kept, more)


async def _round(session: DirectSession, lane: str, room: Room, turns: Turns, full: list[str]) -> list[Work]:
    most = min(room.rows, MOST_TENANTS)
    query = next_tenants(lane, session.dialect)
    tenants = [str(tenant) for (tenant,) in await session.fetch(query, after=turns.tenant, most=most)]
    if len(tenants) < most and turns.tenant:  # the round begins anew
        first = [str(tenant) for (tenant,) in await session.fetch(query, after="", most=most - len(tenants))]
        tenants += [tenant for tenant in first if tenant not in tenants]
    turns.tenant = tenants[-1] if tenants else ""
    found: list[Work] = []
    for number, tenant in enumerate(tenants):
        # What one tenant leaves of its part goes to those behind it.
        part = -(-(room.rows - len(found)) // (len(tenants) - number))
        found += await _of_tenant(session, lane, tenant, part, turns, full)
    return found


async def _of_tenant(
    session: DirectSession, lane: str, tenant: str, most: int, turns: Turns, full: list[str]
) -> list[Work]:
    table, dialect = LANES[lane].table, session.dialect
    if table not in SHARES:
        return await session.rows(table, best_of_tenant(lane, dialect), tenant=tenant, most=most)
    query, last = next_shares(lane, dialect), turns.shares.pop(tenant, "")
    given = {"tenant": tenant, "full": listed(full, dialect)}
    heads = list(await session.fetch(query, after=last, most=most, **given))
    if len(heads) < most and last:  # the round begins anew
        heads += await session.fetch(query, after="", most=most - len(heads), **given)
    if heads:
        turns.shares[tenant] = str(heads[-1][0])
    ids = {str(id) for _, id in heads}
    return await session.rows(table, due_among(lane, dialect), ids=listed(ids, dialect))


def _within(rows: Sequence[Work], room: Room) -> list[Work]:
    """The rows without those that are too many of what they share."""
    if room.each is None:
        return list(rows)
    counts, kept = Counter(room.held), []
    for row in rows:
        share = share_of(row)
        if share is None or counts[share] < room.each:
            kept.append(row)
            counts[share or ""] += 1
    return kept


def share_of(row: Work) -> str | None:
    """What the row shares with others that it must not hold up; nothing for an operation."""
    name = SHARES.get(type(row))
    share: str | None = None if name is None else getattr(row, name)
    return share


@cache
def best_due(lane: str, dialect: str) -> Query:
    """The best rows of the lane, locked: `most`."""
    return compiled(_best(lane, dialect), dialect)


@cache
def best_of_tenant(lane: str, dialect: str) -> Query:
    """The best rows of the `tenant` in the lane, locked: `most`."""
    is_theirs = LANES[lane].table.tenant_id == parameter("tenant", String())
    return compiled(_best(lane, dialect).where(is_theirs), dialect)


@cache
def due_among(lane: str, dialect: str) -> Query:
    """Those of the `ids` that are due and that nothing holds back, locked."""
    table = LANES[lane].table
    query = _locked(every_column(table).where(*due(lane), *gates(lane)), lane)
    return compiled(query.where(among(table.id, "ids", dialect)).order_by(table.due_at, table.id), dialect)


@cache
def next_tenants(lane: str, dialect: str) -> Query:
    """The tenants behind `after` that have due rows in the lane, by their ids: `most`. One index probe for each."""
    table = LANES[lane].table

    def behind(tenant: ColumnElement[str]) -> ColumnElement[str | None]:
        return select(func.min(table.tenant_id)).where(*due(lane), table.tenant_id > tenant).scalar_subquery()

    walk = select(behind(parameter("after", String())).label("tenant")).cte("walk", recursive=True)
    walk = walk.union_all(select(behind(walk.c.tenant)).where(walk.c.tenant.is_not(None)))
    return compiled(
        select(walk.c.tenant).where(walk.c.tenant.is_not(None)).limit(parameter("most", BigInteger())), dialect
    )


@cache
def next_shares(lane: str, dialect: str) -> Query:
    """What the `tenant` has due rows for, behind `after` and not in the list `full`, with the id of its best row."""
    table = LANES[lane].table
    share = getattr(table, SHARES[table])
    mine = (*due(lane), table.tenant_id == parameter("tenant", String()))

    def behind(last: ColumnElement[str]) -> ColumnElement[str | None]:
        return select(func.min(share)).where(*mine, share > last).scalar_subquery()

    walk = select(behind(parameter("after", String())).label("share")).cte("walk", recursive=True)
    walk = walk.union_all(select(behind(walk.c.share)).where(walk.c.share.is_not(None)))
    best = select(table.id).where(*mine, share == walk.c.share).order_by(table.due_at, table.id).limit(1)
    taken = (walk.c.share.is_not(None), ~among(walk.c.share, "full", dialect))
    query = select(walk.c.share, best.scalar_subquery()).where(*taken).limit(parameter("most", BigInteger()))
    return compiled(query, dialect)


def due(lane: str) -> tuple[ColumnElement[bool], ...]:
    """The conditions of a due row."""
    return (*waiting(lane), LANES[lane].table.due_at <= db_now())


def waiting(lane: str) -> tuple[ColumnElement[bool], ...]:
    """The conditions of a row that waits; lane and status stand in the text, as in the partial indexes."""
    work = LANES[lane]
    table: Any = work.table
    return (
        table.lane == literal(lane, literal_execute=True),
        table.status == literal(work.waiting, literal_execute=True),
    )


def nothing_in_front(lane: str) -> tuple[ColumnElement[bool], ...]:
    """One holder per resource, in the order of the wishes: an operation queues behind the one that runs on the same
    target, and behind an older one that waits there."""
    if LANES[lane].table is not Operation:
        return ()
    holder, older = aliased(Operation), aliased(Operation)
    runs = holder.status == literal("running", literal_execute=True)
    waits = older.status == literal("queued", literal_execute=True)
    is_older = tuple_(older.created_at, older.id) < tuple_(Operation.created_at, Operation.id)
    return (
        ~exists().where(holder.target_id == Operation.target_id, runs),
        ~exists().where(older.target_id == Operation.target_id, waits, is_older),
    )


def _best(lane: str, dialect: str) -> Select[Any]:
    table: Any = LANES[lane].table
    query = every_column(table).where(*waiting(lane), *nothing_in_front(lane), *gates(lane))
    # As a condition that no index has: else SQLite would collect whatever is due and sort it.
    due_at = table.due_at + 0 if dialect == "sqlite" else table.due_at
    query = query.where(due_at <= db_now())
    return _locked(query, lane).order_by(table.priority, table.due_at, table.id).limit(parameter("most", BigInteger()))


def _locked(query: Select[Any], lane: str) -> Select[Any]:
    return query.with_for_update(skip_locked=True, of=LANES[lane].table)
