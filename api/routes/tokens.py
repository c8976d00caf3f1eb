"""Bearer tokens of the user who asks: make, list, revoke."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import JSONResponse

from api.dependencies import Reading, WhoAsks, require_admin
from api.mutations import Calling, Effect, Shown
from api.pages import Listing, listed
from api.routing import PlatformRoute
from api.schemas.tokens import TokenCreate, TokenPage, TokenShown, token_document
from core.clock import from_rfc3339, now_micros
from core.errors import FieldProblem, InvalidField
from core.secrets import hash_token, new_token
from state.database import ReadSession, WriteSession
from state.operations import record
from state.queries import tokens
from state.queries.lists import View
from state.tables import Operation

router = APIRouter(prefix="/api/v1/tokens", tags=["users"], route_class=PlatformRoute)
LIST = Listing({"name": "text", "created_at": "time"})


@router.get("", operation_id="list_tokens", openapi_extra=LIST.parameters, responses={200: {"model": TokenPage}})
async def list_tokens(
    request: Request, session: Reading, who: WhoAsks, view: Annotated[View, Depends(LIST)]
) -> Response:
    """The tenant's tokens, without their text."""
    found = await tokens.listing(session, who.tenant_id, view)
    return listed(request, found, [token_document(row) for row in found.rows])


@router.post("", operation_id="create_token", status_code=201, responses={201: {"model": TokenShown}})
async def create_token(call: Calling, body: TokenCreate) -> Response:
    """A new token; its text is in this answer alone. A replay cannot show it again: only its hash is kept."""
    require_admin(call.who)
    text = new_token()
    expires_at = None if body.expires_at is None else from_rfc3339(body.expires_at)
    made: list[str] = []

    async def work(session: WriteSession) -> Effect[Operation]:
        if expires_at is not None and expires_at <= now_micros():
            detail = f"'{body.expires_at}' is in the past"
            problem = FieldProblem("/expires_at", detail, "write a time to come; without an end leave it out")
            raise InvalidField(f"a token cannot expire before it is made: {detail}", fields=[problem])
        row = await tokens.add(session, call.who, body.name, hash_token(text), expires_at)
        made[:] = [row.id]
        return Effect(await record(session, call.who, "token.create", row), row.id)

    async def show(session: ReadSession, token_id: str) -> Shown:
        row = await tokens.find(session, call.who.tenant_id, token_id)
        shown = {**token_document(row), **({"token": text} if token_id in made else {})}
        return Shown(shown, 201, call.links.to(f"/api/v1/tokens/{row.id}"))

    return await call.mutate(work, show)


@router.get("/{token_id}", operation_id="get_token", responses={200: {"model": TokenShown}})
async def get_token(session: Reading, who: WhoAsks, token_id: str) -> Response:
    """One token, without its text."""
    return JSONResponse(token_document(await tokens.find(session, who.tenant_id, token_id)))


@router.delete("/{token_id}", operation_id="revoke_token", status_code=204)
async def revoke_token(call: Calling, token_id: str) -> Response:
    """End a token; every process refuses it within seconds."""
    require_admin(call.who)

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await tokens.revoke(session, call.who.tenant_id, token_id)
        return Effect(await record(session, call.who, "token.revoke", row), row.id)

    async def show(session: ReadSession, resource_id: str) -> Shown:
        return Shown(None)

    return await call.mutate(work, show)
