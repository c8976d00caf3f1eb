"""Runtimes: the engines that services run on here."""

from fastapi import APIRouter

from api.dependencies import Reading, WhoAsks
from api.routing import PlatformRoute
from api.schemas.base import Answer
from state.runtimes import offered_runtimes

router = APIRouter(prefix="/api/v1/runtimes", tags=["services"], route_class=PlatformRoute)


class RuntimeShown(Answer):
    """An engine, the formats that it runs, and the Python that it runs in."""

    engine: str
    engine_version: str
    formats: list[str]
    python: str


class RuntimePage(Answer):
    """All of them: there is one page."""

    items: list[RuntimeShown]
    next_page_token: None = None


@router.get("", operation_id="list_runtimes")
async def list_runtimes(session: Reading, who: WhoAsks) -> RuntimePage:
    """The engines that the nodes have, with their versions and Python's: what a service may pin as its `runtime`."""
    found = await offered_runtimes(session)
    return RuntimePage(items=[RuntimeShown.model_validate(dict(each)) for each in found])
