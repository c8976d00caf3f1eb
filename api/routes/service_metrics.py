"""What a service did lately: told from the samples that gateways and the node write, whichever process answers."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response
from starlette.responses import JSONResponse

from api.dependencies import ContextOf, Reading, WhoAsks
from api.routing import PlatformRoute
from api.schemas.quantities import DURATION, read_duration
from api.schemas.service_metrics import ServiceMetricsShown, metrics_document
from core.errors import FieldProblem, InvalidField
from state.queries.samples import service_figures
from state.queries.services import find_service

router = APIRouter(prefix="/api/v1/services/{service}/metrics", tags=["services"], route_class=PlatformRoute)
WINDOWS_S = (60, 300, 3600)
Window = Annotated[
    str | None,
    Query(
        description="Only this one, such as `30s`, `5m` or `1h`.",
        examples=["5m"],
        json_schema_extra={"pattern": f"^{DURATION.pattern}$"},
    ),
]


@router.get("", operation_id="get_service_metrics", responses={200: {"model": ServiceMetricsShown}})
async def get_service_metrics(
    context: ContextOf, session: Reading, who: WhoAsks, service: str, window: Window = None
) -> Response:
    """Predictions, errors, latencies, processor time and memory of the last minute, five minutes and hour; or of one
    window, up to the time for which samples are kept. Asynchronous predictions are among them, once they are answered.
    """
    row = await find_service(session, who.tenant_id, service)
    windows_s = WINDOWS_S if window is None else (_seconds(window, context.settings.sample_hours),)
    return JSONResponse(metrics_document(row.name, windows_s, await service_figures(session, row, windows_s)))


def _seconds(window: str, kept_hours: int) -> int:
    """Raises `InvalidField`."""
    found = read_duration(window)
    if found is None or not timedelta(seconds=1) <= found <= timedelta(hours=kept_hours):
        detail = (
            f"a window is a duration such as 30s, 5m or 1h, from 1s to the {kept_hours}h for which samples are kept"
        )
        raise InvalidField(detail, fields=[FieldProblem("/window", detail)])
    return int(found.total_seconds())
