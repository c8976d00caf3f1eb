"""Uploads in parts: of files that are too large, or lines that are too weak, for one request."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request, Response

from api.dependencies import ContextOf, Reading, WhoAsks
from api.digest_header import announced_digest, verified
from api.links import links_for
from api.mutations import Call, Calling, Effect, Shown, answer
from api.pages import Listing, listed
from api.routes.models import show_nothing
from api.routing import PlatformRoute
from api.schemas.uploads import (
    UploadCreate,
    UploadPage,
    UploadPartShown,
    UploadShown,
    part_document,
    upload_document,
    upload_summary,
)
from api.uploads import announced_bytes, check_announced, drain, keep
from core.errors import FieldProblem, InvalidField, PlatformError
from state.database import ReadSession, WriteSession
from state.operations import record
from state.queries.datasets import Piece
from state.queries.lists import View
from state.releases import check_all_know
from state.tables import Operation
from state.uploads import (
    MOST_PARTS,
    begin_upload,
    find_part,
    find_upload,
    forget_upload,
    hold_upload,
    list_uploads,
    named,
    parts_of,
    put_part,
)
from storage.base import Stored

router = APIRouter(prefix="/api/v1/uploads", tags=["uploads"], route_class=PlatformRoute)
LIST = Listing({"filename": "text", "created_at": "time"})
SHOWN = {"model": UploadShown}
OCTETS: Final[dict[str, Any]] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
Number = Annotated[int, Path(ge=1, le=MOST_PARTS, description="The part's place, counted from 1.")]


@router.get("", operation_id="list_uploads", openapi_extra=LIST.parameters, responses={200: {"model": UploadPage}})
async def list_all(
    request: Request, context: ContextOf, session: Reading, who: WhoAsks, view: Annotated[View, Depends(LIST)]
) -> Response:
    """The tenant's uploads that nothing is made of yet, the newest first."""
    links, hours = links_for(request, context.settings), context.settings.upload_hours
    found = await list_uploads(session, who.tenant_id, view)
    return listed(request, found, [upload_summary(row, links, hours) for row in found.rows])


@router.post("", operation_id="create_upload", status_code=201, responses={201: SHOWN})
async def create(call: Calling, body: UploadCreate) -> Response:
    """Begin an upload: then put its parts, in any order and several at once, and make a dataset of it."""
    limit = call.context.settings.max_dataset_bytes
    if (body.size_bytes or 0) > limit:
        detail, hint = f"a dataset has at most {limit} bytes", "have PORTSIDE_MAX_DATASET_BYTES raised"
        raise InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/size_bytes", detail, hint)])

    async def work(session: WriteSession) -> Effect[Operation]:
        await check_all_know(session, "0016", "an upload in parts")
        row = await begin_upload(session, call.who, body.filename, body.size_bytes)
        return Effect(await record(session, call.who, "upload.create", named(row)), row.id)

    async def show(session: ReadSession, upload_id: str) -> Shown:
        row = await find_upload(session, call.who.tenant_id, upload_id)
        shown = upload_document(row, (), call.links, call.context.settings.upload_hours)
        return Shown(shown, 201, call.links.to(f"/api/v1/uploads/{row.id}"))

    return await call.mutate(work, show)


@router.get("/{upload_id}", operation_id="get_upload", responses={200: SHOWN})
async def get(request: Request, context: ContextOf, session: Reading, who: WhoAsks, upload_id: str) -> Response:
    """An upload and the parts that are here: what is missing is to be sent, again or for the first time."""
    row = await find_upload(session, who.tenant_id, upload_id)
    parts = await parts_of(session, row.id)
    links = links_for(request, context.settings)
    return answer(Shown(upload_document(row, parts, links, context.settings.upload_hours)))


@router.put(
    "/{upload_id}/parts/{number}",
    operation_id="put_upload_part",
    responses={200: {"model": UploadPartShown}},
    openapi_extra={"requestBody": {"required": True, "content": OCTETS}},
)
async def put(call: Calling, upload_id: str, number: Number) -> Response:
    """Send a part. Sent again it takes the place of the former one; `Content-Digest` (RFC 9530) is held against it."""
    async with call.receiving():
        async with call.context.database.read() as reading:
            await find_upload(reading, call.who.tenant_id, upload_id)
        stored = await _receive(call)
    piece = Piece(str(stored.digest), stored.size_bytes)

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_upload(session, call.who.tenant_id, upload_id)
        await put_part(session, row, number, piece, call.context.settings.max_dataset_bytes)
        return Effect(await record(session, call.who, "upload.put_part", named(row)), upload_id)

    async def show(session: ReadSession, upload_id: str) -> Shown:
        return Shown(part_document(await find_part(session, upload_id, number)))

    return await call.mutate(work, show, body_sha256=stored.digest.hex)


@router.delete("/{upload_id}", operation_id="delete_upload", status_code=204)
async def delete(call: Calling, upload_id: str) -> Response:
    """Give an upload up, with all its parts."""

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_upload(session, call.who.tenant_id, upload_id)
        operation = await record(session, call.who, "upload.delete", named(row))
        await forget_upload(session, row)
        return Effect(operation, upload_id)

    return await call.mutate(work, show_nothing)


async def _receive(call: Call) -> Stored:
    """Stream the part into the store. Raises `TooLarge`, `Incomplete`, `DigestMismatch`, `StoreUnavailable`."""
    request, context = call.request, call.context
    limit = context.settings.max_upload_bytes
    try:
        check_announced(request, limit, limit, "")
        pieces = verified(request.stream(), announced_digest(request))
        stored = await context.store.put(pieces, max_bytes=limit, expected_bytes=announced_bytes(request))
    except PlatformError:
        await drain(request)
        raise
    await keep(context, stored)
    return stored
