"""Files of a dataset of the kind `files`: list, put, read, delete, each under its path."""

import hashlib
import json
from pathlib import PurePosixPath
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import JSONResponse

from api.dependencies import ContextOf, Reading, WhoAsks
from api.downloads import BYTES, attachment, send_blob
from api.file_pages import after_of, token_after
from api.links import links_for
from api.multipart import MEDIA_TYPE
from api.mutations import Call, Calling, Effect, Shown
from api.routes.models import show_nothing
from api.routing import PlatformRoute
from api.schemas.dataset_files import DatasetFileList, DatasetFileShown, check_path, file_document
from api.script_scope import refuse_to_replace
from api.uploads import announced_bytes, check_announced, drain, keep
from core.errors import PlatformError
from state.creating import NewFile
from state.database import ReadSession, WriteSession
from state.dataset_files import check_has_files, put_file, remove_file
from state.datasets import hold_dataset
from state.datatables import Dataset
from state.operations import record
from state.queries.datasets import files_of, find_dataset, find_file, seek_file
from state.tables import Operation
from storage.base import Stored

router = APIRouter(prefix="/api/v1/datasets/{dataset}/files", tags=["datasets"], route_class=PlatformRoute)
SHOWN = {"model": DatasetFileShown}
OCTETS = "application/octet-stream"


@router.get("", operation_id="list_dataset_files", responses={200: {"model": DatasetFileList}})
async def list_files(
    request: Request,
    context: ContextOf,
    session: Reading,
    who: WhoAsks,
    dataset: str,
    prefix: Annotated[str, Query(max_length=500, description="Only those whose paths begin so.")] = "",
    page_size: Annotated[int, Query(ge=1, le=500, description="How many items at most.")] = 50,
    page_token: Annotated[str | None, Query(description="`next_page_token` of the page before.")] = None,
) -> Response:
    """The files in the order of their paths."""
    row = await find_dataset(session, who.tenant_id, dataset)
    check_has_files(row)
    after = "" if page_token is None else after_of(page_token, row.id, prefix)
    found = await files_of(session, row.id, after=after, prefix=prefix, limit=page_size + 1)
    shown, links = found[:page_size], links_for(request, context.settings)
    token = token_after(shown[-1].path, row.id, prefix) if len(found) > page_size else None
    return JSONResponse({"items": [file_document(each, row, links) for each in shown], "next_page_token": token})


@router.get(
    "/{path:path}",
    operation_id="download_dataset_file",
    responses={200: {"content": BYTES}, 206: {"description": "The range asked for.", "content": BYTES}},
)
async def download_file(request: Request, context: ContextOf, who: WhoAsks, dataset: str, path: str) -> Response:
    """The file as it was put; `Range` is understood, the ETag is its digest."""
    async with context.database.read() as session:
        row = await find_dataset(session, who.tenant_id, dataset)
        check_has_files(row)
        file = await find_file(session, row, path)
    name = PurePosixPath(file.path).name
    plain = f"{row.name}{PurePosixPath(name).suffix if name.isascii() else ''}".replace('"', "")
    return await send_blob(request, context, file.digest, attachment(plain, name), file.content_type)


@router.put(
    "/{path:path}",
    operation_id="put_dataset_file",
    responses={200: SHOWN},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def put(call: Calling, dataset: str, path: str) -> Response:
    """Put a file under its path, in place of one that is there; refused while a run reads the dataset."""
    check_path(path)
    async with call.receiving():
        async with call.context.database.read() as reading:
            check_has_files(await find_dataset(reading, call.who.tenant_id, dataset))
        stored = await _receive(call)
    file = NewFile(path, str(stored.digest), stored.size_bytes, _type(call.request))
    told = hashlib.sha256(json.dumps([stored.digest.hex, file.content_type]).encode()).hexdigest()

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_dataset(session, call.who, dataset)
        if former := await seek_file(session, row.id, path):
            refuse_to_replace(call.who, path, former.digest, file.digest)
        await put_file(session, row, file)
        return Effect(await record(session, call.who, "dataset.put_file", row), row.id)

    async def show(session: ReadSession, dataset_id: str) -> Shown:
        row = await session.get_one(Dataset, dataset_id)
        return Shown(file_document(await find_file(session, row, path), row, call.links))

    return await call.mutate(work, show, body_sha256=told)


@router.delete("/{path:path}", operation_id="delete_dataset_file", status_code=204)
async def delete(call: Calling, dataset: str, path: str) -> Response:
    """Delete a file; refused while a run reads the dataset."""

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_dataset(session, call.who, dataset)
        await remove_file(session, row, path)
        return Effect(await record(session, call.who, "dataset.delete_file", row), row.id)

    return await call.mutate(work, show_nothing)


async def _receive(call: Call) -> Stored:
    request, context = call.request, call.context
    limit = context.settings.max_upload_bytes
    try:
        check_announced(request, limit, limit, "")
        stored = await context.store.put(request.stream(), max_bytes=limit, expected_bytes=announced_bytes(request))
    except PlatformError:
        await drain(request)
        raise
    await keep(context, stored)
    return stored


def _type(request: Request) -> str:
    found = MEDIA_TYPE.match(request.headers.get("content-type", ""))
    return OCTETS if found is None else found.group().lower()
