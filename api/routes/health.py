"""Whether this process lives, predicts and controls; and its figures for Prometheus."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Final

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse

from api.dependencies import Context, ContextOf
from api.routing import OpenRoute, PlatformRoute
from api.schemas.system import Readiness
from core.errors import PlatformError
from state.queries.lanes import ping
from storage.base import BlobMissing
from storage.digests import Digest

router = APIRouter(tags=["health"], route_class=OpenRoute)
metered = APIRouter(tags=["health"], route_class=PlatformRoute)

CHECK_S = 2.0
READINESS: Final[dict[int | str, dict[str, Any]]] = {200: {"model": Readiness}, 503: {"model": Readiness}}
NO_BLOB = Digest("0" * 64)


@router.get("/", include_in_schema=False)
async def get_life() -> dict[str, str]:
    """This process lives, in the words and at the place where KServe's client of the V1 protocol looks."""
    return {"status": "alive"}


@router.get("/healthz", operation_id="get_health")
async def get_health() -> dict[str, str]:
    """This process lives."""
    return {"status": "ok"}


@router.get("/readyz", operation_id="get_readiness", responses=READINESS)
async def get_readiness(context: ContextOf) -> Response:
    """Predictions can be answered: the routing table is loaded. True even while the database is away."""
    missing = {}
    if not context.is_routing_ready():
        missing["routing"] = "the routing table is not loaded yet"
    if context.is_leaving():
        missing["process"] = "it is about to stop; send requests to another one"
    if not missing:
        return JSONResponse({"status": "ready"})
    return JSONResponse({"status": "not ready", "waiting_for": missing}, 503)


@router.get("/readyz/control", operation_id="get_control_readiness", responses=READINESS)
async def get_control_readiness(context: ContextOf) -> Response:
    """The control plane can do its work; else 503 naming what is not ready."""
    checks: Mapping[str, Awaitable[str | None]] = {
        "database": _database(context),
        "store": _store(context),
        **{name: check() for name, check in context.checks.items()},
    }
    answers = await asyncio.gather(*map(_answer, checks.values()))
    missing = {name: fault for name, fault in zip(checks, answers, strict=True) if fault is not None}
    if not missing:
        return JSONResponse({"status": "ready", "checked": sorted(checks)})
    return JSONResponse({"status": "not ready", "waiting_for": missing}, 503)


@metered.get(
    "/metrics", operation_id="get_metrics", responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
async def get_metrics(context: ContextOf) -> Response:
    """Figures in Prometheus' text format."""
    await context.refresh_metrics()
    # Beside the event loop: thousands of lines take longer than a prediction shall wait.
    page = await asyncio.to_thread(generate_latest, context.registry)
    return Response(page, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _answer(check: Awaitable[str | None]) -> str | None:
    try:
        async with asyncio.timeout(CHECK_S):
            return await check
    except TimeoutError:
        return f"no answer within {CHECK_S:g} s"
    except PlatformError as error:
        return error.message


async def _database(context: Context) -> str | None:
    async with context.database.read() as session:
        await ping(session)
    return None


async def _store(context: Context) -> str | None:
    try:
        await context.store.stat(NO_BLOB)
    except BlobMissing:
        return None  # the store has looked
    return None
