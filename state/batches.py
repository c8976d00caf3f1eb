"""One verb for many: resolved to ids, then done in batches of one transaction each; a failed one fails alone."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.exc import IntegrityError

from core.errors import Conflict, Json, NotFound, PlatformError, Unavailable
from state.advance import lock
from state.claims import TARGETS
from state.database import Database, Session, WriteSession
from state.deploying import act
from state.machines import SERVICE
from state.operations import Who
from state.predicting import cancel_prediction, find_prediction
from state.queries import operations
from state.queries.lists import Condition, matching_ids
from state.tables import Operation, Prediction, Service
from state.worktables import OPERATIONS, PREDICTIONS

log = logging.getLogger(__name__)

MOST = 1000
# Long enough to save most of the commits, short enough that nobody waits long for a row that a batch has locked.
BATCH = 50
Clause = ColumnElement[bool]
Outcome = Literal["accepted", "unchanged", "failed"]


@dataclass(frozen=True, slots=True)
class Item:
    """What became of one: `accepted` with its operation, `unchanged` because it is so already, or `failed`."""

    id: str
    outcome: Outcome
    operation_id: str | None = None
    error: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Verb:
    """What can be asked of many. `only` is what a filter means at the least: those that the verb can change."""

    table: type[Any]
    only: Condition
    hold: Callable[[WriteSession, Sequence[str]], Awaitable[None]]
    do: Callable[[WriteSession, Who, str], Awaitable[Item]]


@dataclass(frozen=True, slots=True)
class Selection:
    """The ids that a filter names, and whether there are more than `MOST`."""

    ids: Sequence[str]
    has_more: bool


class _NotKept(Exception):
    """Ends a transaction that was only to show what would happen."""


async def matching(
    session: Session, who: Who, verb: Verb, conditions: Sequence[Condition], also: Clause | None
) -> Selection:
    """The tenant's rows that a filter names and the verb can change, the oldest first; `also` narrows them further."""
    query: Select[Any] = select(verb.table).where(verb.table.tenant_id == who.tenant_id)
    if also is not None:
        query = query.where(also)
    found = await matching_ids(session, query, verb.table, [*conditions, verb.only], MOST + 1)
    return Selection(found[:MOST], len(found) > MOST)


async def service_ids(session: Session, who: Who, given: Sequence[str]) -> dict[str, str]:
    """The ids of services by their ids and by their names; what there is not is left out."""
    mine = (Service.tenant_id == who.tenant_id, Service.status != "deleted")
    rows = (await session.execute(select(Service.id, Service.name).where(*mine, _is_one_of(given)))).all()
    return {row.name: row.id for row in rows} | {row.id: row.id for row in rows}


def _is_one_of(given: Sequence[str]) -> Clause:
    return or_(Service.id.in_(given), Service.name.in_(given))


async def do_all(database: Database, who: Who, verb: Verb, ids: Sequence[str], *, dry_run: bool) -> list[Item]:
    """Do it for each, in the order of the ids, and tell what became of each; a dry run leaves nothing behind."""
    done: dict[str, Item] = {}
    todo = sorted(ids)  # two requests for the same ones lock them in the same order
    for start in range(0, len(todo), BATCH):
        batch = todo[start : start + BATCH]
        items: list[Item] = []
        try:
            async with database.write() as session:
                await verb.hold(session, batch)
                items = [await _one(session, who, verb, id) for id in batch]
                _keep(dry_run=dry_run)
        except _NotKept:
            log.debug("a dry run of %d", len(items))
        except (Unavailable, IntegrityError) as error:
            problem = error if isinstance(error, Unavailable) else _meanwhile()
            items = [Item(id, "failed", error=problem.as_problem()) for id in batch]
        done |= {item.id: item for item in items}
    return [done[id] for id in ids]


def _keep(*, dry_run: bool) -> None:
    if dry_run:
        raise _NotKept


async def _one(session: WriteSession, who: Who, verb: Verb, id: str) -> Item:
    try:
        async with session.part():
            return await verb.do(session, who, id)
    except PlatformError as error:
        return Item(id, "failed", error=error.as_problem())
    except IntegrityError:
        return Item(id, "failed", error=_meanwhile().as_problem())


def _meanwhile() -> Conflict:
    return Conflict("it changed at this very moment; ask again")


async def _hold_services(session: WriteSession, ids: Sequence[str]) -> None:
    """All of them, and what is under way on them, before the first changes: a change also raises the routing version,
    which everybody writes. Who claims holds operations while it waits for that."""
    await session.execute(
        select(Service.id).where(Service.id.in_(ids)).order_by(Service.id).with_for_update(key_share=True)
    )
    unfinished = (Operation.target_id.in_(ids), Operation.status.in_([OPERATIONS.waiting, OPERATIONS.working]))
    await session.execute(
        select(Operation.id).where(*unfinished).order_by(Operation.id).with_for_update(key_share=True)
    )


async def _hold_targets(session: WriteSession, ids: Sequence[str]) -> None:
    """The same for operations and what they work on: models, services, versions, then they, as every other writer."""
    found = await session.execute(select(Operation.target_type, Operation.target_id).where(Operation.id.in_(ids)))
    targets = [(row.target_type, row.target_id) for row in found]
    for kind in ("model", "service", "version"):
        table, wanted = TARGETS[kind], [id for type_, id in targets if type_ == kind]
        if wanted:
            await session.execute(
                select(table.id).where(table.id.in_(wanted)).order_by(table.id).with_for_update(key_share=True)
            )
    await session.execute(
        select(Operation.id).where(Operation.id.in_(ids)).order_by(Operation.id).with_for_update(key_share=True)
    )


async def _hold_nothing(session: WriteSession, ids: Sequence[str]) -> None:
    """Predictions are locked one by one, in the order of their ids, and nothing else is."""


async def _pause(session: WriteSession, who: Who, id: str) -> Item:
    service = await _service(session, who, id)
    if service.status in ("pausing", "paused"):
        return Item(id, "unchanged")
    return Item(id, "accepted", (await act(session, who, service, "pause")).id)


async def _resume(session: WriteSession, who: Who, id: str) -> Item:
    service = await _service(session, who, id)
    if service.status in ("resuming", "running", "degraded"):
        return Item(id, "unchanged")
    return Item(id, "accepted", (await act(session, who, service, "resume")).id)


async def _service(session: WriteSession, who: Who, id: str) -> Service:
    found = await session.scalar(select(Service.id).where(Service.id == id, Service.tenant_id == who.tenant_id))
    if found is None:
        raise NotFound(f"no service has the id or the name '{id[:60]}'; GET /api/v1/services lists them")
    return await lock(session, Service, id)


async def _retry(session: WriteSession, who: Who, id: str) -> Item:
    if (await operations.find(session, who.tenant_id, id)).status in ("queued", "running"):
        return Item(id, "unchanged", id)
    return Item(id, "accepted", (await operations.retry(session, who, id)).id)


async def _cancel(session: WriteSession, who: Who, id: str) -> Item:
    if (await operations.find(session, who.tenant_id, id)).status in OPERATIONS.finals:
        return Item(id, "unchanged", id)
    return Item(id, "accepted", (await operations.request_cancel(session, who, id)).id)


async def _cancel_prediction(session: WriteSession, who: Who, id: str) -> Item:
    if (await find_prediction(session, who.tenant_id, id)).status in PREDICTIONS.finals:
        return Item(id, "unchanged")
    await cancel_prediction(session, who, id)
    return Item(id, "accepted")


def _status(*statuses: str) -> Condition:
    return Condition("status", "in", statuses)


VERBS: Final[Mapping[str, Verb]] = {
    "batch.retry_operations": Verb(Operation, _status("failed"), _hold_targets, _retry),
    "batch.cancel_operations": Verb(Operation, _status("queued", "running"), _hold_targets, _cancel),
    "batch.pause_services": Verb(Service, _status(*sorted(SERVICE.moves["pause"].sources)), _hold_services, _pause),
    "batch.resume_services": Verb(Service, _status("paused"), _hold_services, _resume),
    "batch.cancel_predictions": Verb(Prediction, _status("starting", "processing"), _hold_nothing, _cancel_prediction),
}
