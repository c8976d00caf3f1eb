"""Files that a client keeps here for a while, as Replicate's clients upload, list, read and delete them."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from api.dependencies import ContextOf, Reading, WhoAsks
from api.downloads import BYTES, attachment, digest_tag, send_blob
from api.headers import is_not_modified
from api.lending import receive_file
from api.links import links_for
from api.mutations import Calling, Effect, Shown, answer
from api.pages import Listing, listed_with_links
from api.routes.models import show_nothing
from api.routing import PlatformRoute
from api.schemas.files import FilePage, FileShown, file_document
from state.database import ReadSession, WriteSession
from state.operations import record
from state.queries import files
from state.queries.lists import View
from state.tables import Operation

LISTED_AT: Final = "/api/v1/files"
router = APIRouter(prefix=LISTED_AT, tags=["files"], route_class=PlatformRoute)
LIST = Listing({"name": "text", "content_type": "text", "created_at": "time"})
SHOWN = {"model": FileShown}
FORM: Final[dict[str, Any]] = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["content"],
            "additionalProperties": False,
            "properties": {
                "content": {"type": "string", "format": "binary", "description": "The file."},
                "metadata": {"type": "string", "description": "A JSON object of the client's own."},
            },
        }
    }
}


@router.get("", operation_id="list_files", openapi_extra=LIST.parameters, responses={200: {"model": FilePage}})
async def list_files(
    request: Request, context: ContextOf, session: Reading, who: WhoAsks, view: Annotated[View, Depends(LIST)]
) -> Response:
    """The tenant's files, the newest first."""
    links, hours = links_for(request, context.settings), context.settings.file_hours
    found = await files.listing(session, who.tenant_id, view)
    shown = [file_document(row, links, hours) for row in found.rows]
    return listed_with_links(request, found, shown, links.to(LISTED_AT))


@router.post(
    "",
    operation_id="create_file",
    status_code=201,
    responses={201: SHOWN},
    openapi_extra={"requestBody": {"required": True, "content": FORM}},
)
async def create_file(call: Calling) -> Response:
    """Keep a file: a form with the part `content` and perhaps `metadata`. It expires (`PORTSIDE_FILE_HOURS`)."""
    async with call.receiving():
        lent = await receive_file(call.request, call.context)

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await files.add(session, call.who, lent.file)
        return Effect(await record(session, call.who, "file.create", row), row.id)

    async def show(session: ReadSession, file_id: str) -> Shown:
        row = await files.find(session, call.who.tenant_id, file_id)
        shown = file_document(row, call.links, call.context.settings.file_hours)
        return Shown(shown, 201, call.links.to(f"{LISTED_AT}/{row.id}"), digest_tag(row.digest))

    return await call.mutate(work, show, body_sha256=lent.body_sha256)


@router.get("/{file_id}", operation_id="get_file", responses={200: SHOWN})
async def get_file(request: Request, context: ContextOf, session: Reading, who: WhoAsks, file_id: str) -> Response:
    """One file, without its bytes."""
    row = await files.find(session, who.tenant_id, file_id)
    tag = digest_tag(row.digest)
    if is_not_modified(request, tag):
        return Response(status_code=304, headers={"ETag": tag})
    links = links_for(request, context.settings)
    return answer(Shown(file_document(row, links, context.settings.file_hours), etag=tag))


@router.delete("/{file_id}", operation_id="delete_file", status_code=204)
async def delete_file(call: Calling, file_id: str) -> Response:
    """Forget a file; its bytes are deleted when nothing else has them."""

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await files.hold(session, call.who.tenant_id, file_id)
        call.check_if_match(digest_tag(row.digest))
        operation = await record(session, call.who, "file.delete", row)
        await files.remove(session, row)
        return Effect(operation, row.id)

    return await call.mutate(work, show_nothing)


@router.get(
    "/{file_id}/content",
    operation_id="download_file",
    responses={200: {"content": BYTES}, 206: {"description": "The range asked for.", "content": BYTES}},
)
async def download_file(request: Request, context: ContextOf, who: WhoAsks, file_id: str) -> Response:
    """The bytes as they were uploaded, under the type that was given; `Range` is understood, the ETag is the digest."""
    async with context.database.read() as session:
        row = await files.find(session, who.tenant_id, file_id)
    return await send_blob(request, context, row.digest, attachment(row.id, row.name), row.content_type)
