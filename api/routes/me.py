"""Who asks, as the platform sees it."""

from fastapi import APIRouter

from api.dependencies import WhoAsks
from api.routing import PlatformRoute
from api.schemas.tokens import Me

router = APIRouter(prefix="/api/v1/me", tags=["users"], route_class=PlatformRoute)


@router.get("", operation_id="get_me")
async def get_me(who: WhoAsks) -> Me:
    """The user, role and tenant of this request."""
    return Me(user=who.actor, role=who.role, tenant=who.tenant_id)
