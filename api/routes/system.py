"""What this installation is: its version, the settings that are safe to show, how much work waits."""

import time
from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter
from pydantic import BaseModel

from api.dependencies import ContextOf, Reading, WhoAsks
from api.routing import PlatformRoute
from state.queries.lanes import backlogs

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
    "operation_days",
)


class LaneShown(BaseModel):
    """One lane of work; `oldest_s` is how long the oldest due row has waited."""

    waiting: int
    oldest_s: float
    working: int


class SystemShown(BaseModel):
    """This installation."""

    version: str
    database: str
    uptime_s: float
    settings: dict[str, str | int | float | dict[str, int] | None]
    lanes: dict[str, LaneShown]


@router.get("", operation_id="get_system")
async def get_system(context: ContextOf, session: Reading, who: WhoAsks) -> SystemShown:
    """The version, the safe settings and the lanes."""
    found = await backlogs(session)
    return SystemShown(
        version=_release(),
        database=context.database.dialect,
        uptime_s=round(time.time() - context.started_at, 1),
        settings={name: getattr(context.settings, name) for name in SAFE},
        lanes={
            lane.lane: LaneShown(waiting=lane.waiting, oldest_s=lane.oldest_s, working=lane.working) for lane in found
        },
    )


def _release() -> str:
    try:
        return version("portside")
    except PackageNotFoundError:  # run from the sources without an installation
        return "unknown"
