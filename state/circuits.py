"""A receiver of webhooks that fails is left alone for a growing time, so that it holds up nobody else.

A *receiver* is an endpoint, or a tenant's host that predictions name themselves. After `TRIPS_AFTER` failures in a row
its circuit opens: what waits for it becomes due when the pause is over, and then one delivery probes.
"""

import random
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, case, delete, func, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased

from core.clock import Micros, now_micros
from state.database import Session, WriteSession, db_now
from state.tables import Circuit, Delivery

TRIPS_AFTER = 5
FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 900.0
JITTER = 0.2
# Deliveries under way at one receiver: half of a worker's slots at most. One that failed the last time gets one.
MOST_UNDER_WAY = 4
WAITING = "its receiver to answer again"
AT_ONCE = 500  # rows of one transaction: a receiver that was away for a day may have a million


def receiver_of(tenant_id: str, url: str, endpoint_id: str | None) -> str:
    """Whose trouble may hold up a delivery: the endpoint's, or that of the host in a prediction's own webhook."""
    if endpoint_id is not None:
        return endpoint_id
    try:
        parts = urlsplit(url)
    except ValueError:
        return tenant_id
    return f"{tenant_id} {parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}"[:320]


def can_take_more() -> ColumnElement[bool]:
    """The condition on a `Delivery` that its receiver has not enough to do already. One look at what is under way."""
    under_way = aliased(Delivery)
    doubted = func.coalesce(func.max(Circuit.failures), 0) > 0
    busy = (
        select(under_way.receiver)
        .outerjoin(Circuit, Circuit.receiver == under_way.receiver)
        .where(under_way.status == "sending", under_way.receiver.is_not(None))
        .group_by(under_way.receiver)
        .having(func.count() >= case((doubted, 1), else_=MOST_UNDER_WAY))
    )
    # Rows of a release that knew no receivers have none.
    return or_(Delivery.receiver.is_(None), Delivery.receiver.not_in(busy))


async def find_circuit(session: Session, receiver: str) -> Circuit | None:
    """What is remembered of a receiver that failed the last time."""
    return await session.get(Circuit, receiver)


async def opens_at(session: Session, receiver: str) -> Micros | None:
    """From when on something new may be sent to the receiver; nothing where that is now."""
    query = select(Circuit.open_until).where(Circuit.receiver == receiver, Circuit.open_until > db_now())
    return await session.scalar(query)


async def note_failed(session: WriteSession, receiver: str) -> Micros | None:
    """Count a failure; when it opens the circuit, answers until when, and begins to `put_off` what waits for it."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    row = insert(Circuit).values(receiver=receiver, failures=0, open_until=None, updated_at=now_micros())
    await session.execute(row.on_conflict_do_nothing())
    query = select(Circuit, db_now()).where(Circuit.receiver == receiver).with_for_update(of=Circuit)
    circuit, now = (await session.execute(query.execution_options(populate_existing=True))).one()
    if circuit.open_until is not None and circuit.open_until > now:
        return circuit.open_until  # sent before it opened
    circuit.failures, circuit.updated_at = circuit.failures + 1, now
    if circuit.failures < TRIPS_AFTER:
        return None
    circuit.open_until = now + int(pause_s(circuit.failures) * 1_000_000)
    await session.flush()
    await put_off(session, receiver, circuit.open_until)
    session.tell("later", "deliver", receiver)
    return circuit.open_until


async def put_off(session: WriteSession, receiver: str, until: Micros) -> bool:
    """Let `AT_ONCE` of what waits for the receiver wait until then; answers whether there may be more.

    What is not put off is tried in its turn, one at a time.
    """
    return await _redate(session, receiver, Delivery.due_at < until, due_at=until, waiting_for=WAITING)


async def close(session: WriteSession, receiver: str) -> None:
    """The receiver answers, or its owner changed it: forget its failures, and begin to `let_go` what was put off."""
    await session.execute(delete(Circuit).where(Circuit.receiver == receiver))
    await let_go(session, receiver)


async def let_go(session: WriteSession, receiver: str) -> bool:
    """Send `AT_ONCE` of what was put off; answers whether there may be more, which goes out when its time comes."""
    session.tell("work", "deliver", "")
    return await _redate(session, receiver, Delivery.waiting_for == WAITING, due_at=db_now(), waiting_for=None)


def pause_s(failures: int) -> float:
    """How long a receiver is left alone after so many failures in a row: doubled each time, with jitter."""
    pause = FIRST_PAUSE_S * 2.0 ** min(failures - TRIPS_AFTER, 16)
    return min(pause, LONGEST_PAUSE_S) * random.uniform(1.0 - JITTER, 1.0 + JITTER)  # noqa: S311  jitter, no secret


async def _redate(session: WriteSession, receiver: str, which: ColumnElement[bool], **values: object) -> bool:
    pending = (Delivery.receiver == receiver, Delivery.status == literal("pending", literal_execute=True), which)
    some = select(Delivery.id).where(*pending).order_by(Delivery.due_at).limit(AT_ONCE)
    # The conditions again: who claims one of them meanwhile keeps it.
    redated = update(Delivery).where(Delivery.id.in_(some), *pending).values(**values)
    done: Any = await session.execute(redated.execution_options(synchronize_session=False))
    return int(done.rowcount) == AT_ONCE
