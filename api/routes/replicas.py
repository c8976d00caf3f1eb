"""Replicas of a service: list, restart one, and their logs as plain text."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.dependencies import ContextOf, Reading, WhoAsks, is_operator
from api.filters import statuses
from api.headers import etag
from api.links import links_for
from api.mutations import Calling, Effect
from api.pages import Listing, listed
from api.routing import PlatformRoute
from api.schemas.operations import OperationShown
from api.schemas.services import ReplicaPage, replica_documents
from api.streams import live
from state.database import WriteSession
from state.deploying import hold_service, restart_replica
from state.machines import REPLICA
from state.queries import services
from state.queries.lists import View
from state.tables import Operation

router = APIRouter(prefix="/api/v1/services/{service}/replicas", tags=["services"], route_class=PlatformRoute)
LIST = Listing({"status": statuses(REPLICA), "created_at": "time"})
Follow = Annotated[bool, Query(description="Go on with what is written from now on.")]
TailBytes = Annotated[int, Query(ge=0, le=16 * 1024 * 1024, description="How much of the end to begin with.")]


@router.get("", operation_id="list_replicas", openapi_extra=LIST.parameters, responses={200: {"model": ReplicaPage}})
async def list_replicas(
    request: Request,
    context: ContextOf,
    session: Reading,
    who: WhoAsks,
    service: str,
    view: Annotated[View, Depends(LIST)],
) -> Response:
    """The model servers of a service, the newest first, ended ones too; `status.in=starting,ready` narrows."""
    row = await services.find_service(session, who.tenant_id, service)
    found = await services.list_replicas(session, row, view)
    links = links_for(request, context.settings)
    items = replica_documents(found.rows, row.name, links, with_address=is_operator(who))
    return listed(request, found, items)


@router.get(
    "/{replica}/logs",
    operation_id="read_replica_logs",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def read_replica_logs(
    request: Request,
    context: ContextOf,
    who: WhoAsks,
    service: str,
    replica: str,
    follow: Follow = False,
    tail_bytes: TailBytes = 1024 * 1024,
) -> Response:
    """What a replica wrote; with `follow` as it is written, until the replica ends or the reader goes away."""
    async with context.database.read() as session:
        row = await services.find_service(session, who.tenant_id, service)
        found = await services.find_replica(session, row, replica)
    pieces = context.read_logs(found.id, follow, tail_bytes)
    first = await anext(pieces, b"")  # it comes at once; whoever has the log may be away, and that is no 200
    return live(request, context, with_first(first, pieces), "text/plain; charset=utf-8")


@router.post(
    "/{replica}:restart", operation_id="restart_replica", status_code=202, responses={202: {"model": OperationShown}}
)
async def restart_one(call: Calling, service: str, replica: str) -> Response:
    """Replace one model server by a fresh one, which is ready before the old one leaves; the others stay as they are.

    The operation is the service's: while it works, no other restart of the service begins.
    """

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_service(session, call.who, service)
        call.check_if_match(etag(row.edition))
        found = await services.find_replica(session, row, replica)
        return Effect(await restart_replica(session, call.who, row, found))

    return await call.mutate(work)


async def with_first(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The piece that was waited for, and the others."""
    if first:
        yield first
    async for piece in pieces:
        yield piece
