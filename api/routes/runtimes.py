"""Runtimes: the engines that services run on here."""

from fastapi import APIRouter
from pydantic import BaseModel

from api.dependencies import Reading, WhoAsks
from api.routing import PlatformRoute
from core.errors import Unavailable
from state.queries.installation import known_runtimes

router = APIRouter(prefix="/api/v1/runtimes", tags=["services"], route_class=PlatformRoute)


class RuntimesUnknown(Unavailable):
    """No node is there, or it has just started."""

    code, title = "runtimes_unknown", "No node has said what it can run"


class RuntimeShown(BaseModel):
    """An engine, the formats that it runs, and the Python that it runs in."""

    engine: str
    engine_version: str
    formats: list[str]
    python: str


class RuntimePage(BaseModel):
    """All of them: there is one page."""

    items: list[RuntimeShown]
    next_page_token: None = None


@router.get("", operation_id="list_runtimes")
async def list_runtimes(session: Reading, who: WhoAsks) -> RuntimePage:
    """The engines that the nodes have, with their versions and Python's."""
    found = await known_runtimes(session)
    if found is None:
        raise RuntimesUnknown(
            "no node has said yet what it can run; ask again in a few seconds, and where that does not help start one: "
            "portside node"
        )
    return RuntimePage(items=[RuntimeShown.model_validate(dict(each)) for each in found])
