"""One verb for many: retry or cancel operations, pause or resume services, cancel predictions (API.md section 2)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, Response
from starlette.responses import JSONResponse

from api.filters import Kind
from api.mutations import Call, Calling, Effect
from api.routes.operations import LIST as OPERATIONS
from api.routes.predictions import COLUMNS
from api.routes.predictions import LIST as PREDICTIONS
from api.routes.services import LIST as SERVICES
from api.routes.services import models_in
from api.routing import PlatformRoute
from api.schemas.batches import BatchShown, ManyBody, batch_document, item_document, read_filter
from core.errors import Json, NotFound
from core.ids import new_id
from state.batches import VERBS, Clause, Item, Selection, do_all, matching, service_ids
from state.database import WriteSession
from state.operations import Named, record
from state.queries.lists import Condition
from state.queries.services import serves_any
from state.tables import Operation

router = APIRouter(prefix="/api/v1", route_class=PlatformRoute)
SHOWN: dict[int | str, dict[str, Any]] = {200: {"model": BatchShown}}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The conditions of a filter on a table's own columns, and what else narrows it down."""

    conditions: Sequence[Condition]
    also: Clause | None = None


@router.post("/operations:retry", operation_id="retry_operations", tags=["operations"], responses=SHOWN)
async def retry_operations(call: Calling, body: ManyBody) -> Response:
    """Try failed operations again; a filter means the failed ones among those that it names."""
    return await _do(call, body, "batch.retry_operations", _conditions(body, OPERATIONS.fields))


@router.post("/operations:cancel", operation_id="cancel_operations", tags=["operations"], responses=SHOWN)
async def cancel_operations(call: Calling, body: ManyBody) -> Response:
    """Ask operations to stop; a filter means those that have not ended."""
    return await _do(call, body, "batch.cancel_operations", _conditions(body, OPERATIONS.fields))


@router.post("/services:pause", operation_id="pause_services", tags=["services"], responses=SHOWN)
async def pause_services(call: Calling, body: ManyBody) -> Response:
    """Free the processes of services, named by their ids or their names; a filter means those that can be paused."""
    return await _do(call, body, "batch.pause_services", _services(call, body))


@router.post("/services:resume", operation_id="resume_services", tags=["services"], responses=SHOWN)
async def resume_services(call: Calling, body: ManyBody) -> Response:
    """Bring paused services back, named by their ids or their names; a filter means the paused ones."""
    return await _do(call, body, "batch.resume_services", _services(call, body))


@router.post("/predictions:cancel", operation_id="cancel_predictions", tags=["predictions"], responses=SHOWN)
async def cancel_predictions(call: Calling, body: ManyBody) -> Response:
    """Stop submitted predictions; a filter means those that have not ended."""
    wanted = _conditions(body, PREDICTIONS.fields)
    own = tuple(replace(c, field=COLUMNS.get(c.field, c.field)) for c in wanted.conditions)
    return await _do(call, body, "batch.cancel_predictions", Wanted(own))


async def _do(call: Call, body: ManyBody, kind: str, wanted: Wanted) -> Response:
    call.refuse_condition()
    if body.dry_run:  # nothing is kept of it, and so it takes no key
        return JSONResponse(batch_document(await _outcome(call, body, kind, wanted), call.links))
    found: dict[str, Json] = {}

    async def act() -> None:
        found.update(await _outcome(call, body, kind, wanted))

    async def remember(session: WriteSession) -> Effect[Operation]:
        counts = {name: found[name] for name in ("accepted", "unchanged", "failed")}
        name = kind.removeprefix("batch.").replace("_", " ")
        operation = await record(session, call.who, kind, Named(new_id("bat"), name), **counts)
        operation.checkpoint = found  # what a replay shows: for lists of operations it would be too much
        return Effect(operation)

    made = await call.once(Operation, remember, prepare=act)
    headers = {**call.headers(made.replayed), "Operation-Location": call.links.operation(made.row.id)}
    return JSONResponse(batch_document(made.row.checkpoint or {}, call.links), headers=headers)


async def _outcome(call: Call, body: ManyBody, kind: str, wanted: Wanted) -> dict[str, Json]:
    """Do it, or only try it, and tell what became of each."""
    verb, database = VERBS[kind], call.context.database
    missing: list[Item] = []
    async with database.read() as session:
        if body.ids is None:
            selection = await matching(session, call.who, verb, wanted.conditions, wanted.also)
        else:
            selection = Selection(list(dict.fromkeys(body.ids)), has_more=False)
            if kind.endswith("_services"):
                known = await service_ids(session, call.who, selection.ids)
                missing = [_unknown(id) for id in selection.ids if id not in known]
                selection = replace(selection, ids=list(dict.fromkeys(known[i] for i in selection.ids if i in known)))
    items = [*await do_all(database, call.who, verb, selection.ids, dry_run=body.dry_run), *missing]
    counts = Counter(item.outcome for item in items)
    return {
        "dry_run": body.dry_run,
        "accepted": counts["accepted"],
        "unchanged": counts["unchanged"],
        "failed": counts["failed"],
        "has_more": selection.has_more,
        "items": [item_document(item if not body.dry_run else replace(item, operation_id=None)) for item in items],
    }


def _unknown(given: str) -> Item:
    error = NotFound(f"no service has the id or the name '{given}'; GET /api/v1/services lists them")
    return Item(given, "failed", error=error.as_problem())


def _conditions(body: ManyBody, fields: Mapping[str, Kind]) -> Wanted:
    return Wanted(() if body.filter is None else read_filter(body.filter, fields))


def _services(call: Call, body: ManyBody) -> Wanted:
    """As in the list of services, `model` is a relation and no column."""
    wanted = _conditions(body, SERVICES.fields).conditions
    models = models_in(wanted, "/filter/model")
    own = tuple(condition for condition in wanted if condition.field != "model")
    return Wanted(own, serves_any(call.who.tenant_id, models) if models else None)
