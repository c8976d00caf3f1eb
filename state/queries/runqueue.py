"""What the node reads of wanted runs at each look: its own, and of those that wait only whose turn may be next.

There may be thousands of them, and it looks whenever somebody has news.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    TextClause,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.orm import aliased

from core.clock import Micros
from state.database import Session
from state.jobtables import WANTED, RunProcess
from state.runplacing import VERDICTS, WantedRun

COLUMNS: Final = (
    *(RunProcess.run_id, RunProcess.tenant_id, RunProcess.generation, RunProcess.wanted, RunProcess.epoch),
    *(RunProcess.pid, RunProcess.process_started, RunProcess.boot_id, RunProcess.ending),
)
# The index's condition word for word, as one term: neither database proves it of bound values.
LISTED: Final = text(f"({WANTED.text})")
MOST_UNLED: Final = 100  # of one look


@dataclass(frozen=True, slots=True)
class Queue:
    """The runs that wait for a process: how many there are, the oldest of each tenant, and when the next one that rests
    after a death may go on. `unled` have a process, but nobody who leads it."""

    count: int
    first: Sequence[WantedRun]
    next_at: Micros | None
    unled: Sequence[WantedRun]


async def led_runs(session: Session, ids: Collection[str]) -> Sequence[WantedRun]:
    """These runs, as far as they are known."""
    if not ids:
        return []
    query = select(*COLUMNS).where(RunProcess.run_id.in_(ids))
    return [WantedRun(*row) for row in await session.execute(query)]


async def runs_with_process(session: Session) -> Sequence[WantedRun]:
    """Every run that has a process, or had one when nobody could write its end any more."""
    query = select(*COLUMNS).where(LISTED, RunProcess.pid.is_not(None)).order_by(RunProcess.run_id)
    return [WantedRun(*row) for row in await session.execute(query)]


async def queue_of_runs(
    session: Session, led: Collection[str], per_tenant: int, now: Micros, longest_rest: Micros
) -> Queue:
    """The wanted runs beside those that are `led`; of each tenant the oldest, in the order in which they came.

    A rest that would last longer than the longest is a clock that was set back: it counts as none.
    """
    wanted = (LISTED, RunProcess.wanted.is_(True), RunProcess.run_id.not_in(led))
    waiting = (*wanted, RunProcess.pid.is_(None), _has_no_verdict())
    retry_at = cast(RunProcess.ending["retry_at"].as_string(), BigInteger)
    rests = retry_at.between(now + 1, now + longest_rest)
    counted = select(func.count(), func.min(case((RunProcess.ending.is_(None), None), (rests, retry_at)))).where(
        *waiting
    )
    count, next_at = (await session.execute(counted)).one()
    may_begin = or_(RunProcess.ending.is_(None), func.coalesce(~rests, True))
    first = await _oldest(session, per_tenant, *waiting, may_begin) if count and per_tenant else []
    # In the order of the index that has all of them behind each other: else each row would be sought by itself.
    unled = select(*COLUMNS).where(*wanted, RunProcess.pid.is_not(None)).order_by(RunProcess.run_id).limit(MOST_UNLED)
    return Queue(count, first, next_at, [WantedRun(*row) for row in await session.execute(unled)])


async def _oldest(session: Session, per_tenant: int, *conditions: Any) -> Sequence[WantedRun]:
    query: Select[*tuple[Any, ...]] = oldest_of_each(session.get_bind().dialect.name, per_tenant, *conditions)
    return [WantedRun(*row) for row in await session.execute(query)]


def oldest_of_each(
    dialect: str, per_tenant: int, *conditions: ColumnElement[bool] | TextClause
) -> Select[*tuple[object, ...]]:
    """The oldest runs of each tenant that meet the conditions: some probes of an index for each, however many wait."""

    def behind(tenant: ColumnElement[str]) -> ColumnElement[str | None]:
        return select(func.min(RunProcess.tenant_id)).where(LISTED, RunProcess.tenant_id > tenant).scalar_subquery()

    walk = select(behind(literal("")).label("tenant")).cte("walk", recursive=True)
    walk = walk.union_all(select(behind(walk.c.tenant)).where(walk.c.tenant.is_not(None)))
    theirs = select(*COLUMNS).where(RunProcess.tenant_id == walk.c.tenant, *conditions)
    theirs = theirs.order_by(RunProcess.run_id).limit(per_tenant).correlate(walk)
    if dialect == "postgresql":
        oldest = theirs.lateral()
        return select(*oldest.c).select_from(walk.join(oldest, true())).order_by(oldest.c.run_id)
    row = aliased(RunProcess)  # SQLite knows no LATERAL, and reads a list for each tenant all the same
    columns = [getattr(row, column.key) for column in COLUMNS]
    mine = row.run_id.in_(theirs.with_only_columns(RunProcess.run_id))
    return select(*columns).select_from(walk.join(row, mine)).order_by(row.run_id)


def _has_no_verdict() -> ColumnElement[bool]:
    outcome = RunProcess.ending["outcome"].as_string()
    # Most that wait have had no process: who asks for that first need not read into a document.
    return or_(RunProcess.ending.is_(None), outcome.is_(None), outcome.not_in(VERDICTS))
