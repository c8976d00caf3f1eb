"""What this installation is and how it is: what an operator looks at first, at three in the morning."""

import asyncio
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter, Response
from starlette.responses import JSONResponse

from api.dependencies import Context, ContextOf, Reading, WhoAsks, is_operator
from api.routing import PlatformRoute
from api.schemas.system import SystemShown, lease_document, process_document, switch_document
from core.disk import room_at
from core.errors import Json
from state.operations import Who
from state.queries.installation import Installation, Seen, read_installation
from state.queries.lanes import Backlog, backlogs
from state.switches import SWITCHES, read_switches

router = APIRouter(prefix="/api/v1/system", tags=["system"], route_class=PlatformRoute)
# URLs may carry passwords and are left out; so are keys and paths.
SAFE = (
    "host",
    "port",
    "public_url",
    "target",
    "max_upload_bytes",
    "max_body_bytes",
    "max_predict_bytes",
    "inspect_timeout_s",
    "inspect_memory_mb",
    "deploy_timeout_s",
    "lanes",
    "max_attempts",
    "idempotency_hours",
    "prediction_hours",
    "file_hours",
    "operation_days",
)


@router.get("", operation_id="get_system", responses={200: {"model": SystemShown}})
async def get_system(context: ContextOf, session: Reading, who: WhoAsks) -> Response:
    """Versions, lanes and switches; for the operator also who holds which lease, all processes, pools and the disk."""
    found, seen, off = await backlogs(session), await read_installation(session), await read_switches(session)
    shown: dict[str, Json] = {
        "version": _release(),
        "database": context.database.dialect,
        "schema_revision": seen.schema,
        "routing_version": seen.routing_version,
        "uptime_s": round(time.time() - context.started_at, 1),
        "settings": {name: getattr(context.settings, name) for name in SAFE},
        "lanes": {lane.lane: _lane(lane, seen.processes, context) for lane in found},
        "switches": [switch_document(name, off.get(name)) for name in SWITCHES],
    }
    return JSONResponse(shown | await _for_the_operator(context, who, seen))


async def _for_the_operator(context: Context, who: Who, seen: Installation) -> dict[str, Json]:
    if not is_operator(who):
        return dict.fromkeys(("leases", "processes", "pools", "disk"))
    disk = await asyncio.to_thread(room_at, context.settings.data)
    return {
        "leases": [lease_document(holder) for holder in seen.leases],
        "processes": [process_document(each) for each in seen.processes],
        "pools": {pool.name: {"size": pool.size, "in_use": pool.in_use} for pool in context.database.pools()},
        "disk": {"total_bytes": disk.total, "free_bytes": disk.free},
    }


def _lane(lane: Backlog, processes: Sequence[Seen], context: Context) -> dict[str, Json]:
    """What waits, and how many could be worked on at once by those who are alive."""
    own = {"slots": context.settings.lanes.get(lane.lane, 0)}
    slots = [
        (own if each.row.role == "embedded" else each.lanes.get(lane.lane, {})).get("slots", 0)
        for each in processes
        if each.is_alive
    ]
    return {"waiting": lane.waiting, "oldest_s": lane.oldest_s, "working": lane.working, "slots": sum(slots)}


def _release() -> str:
    try:
        return version("portside")
    except PackageNotFoundError:  # run from the sources without an installation
        return "unknown"
