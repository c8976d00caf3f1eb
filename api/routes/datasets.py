"""Datasets: list, create by upload or from a source, read, describe, delete; their data, first rows and columns."""

import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.responses import JSONResponse

from api.contents import ENDINGS, JOINABLE, names_of, send_joined, send_zip
from api.dataset_intake import FORM_CONTENT, RAW_CONTENT, RawFields, receive_dataset
from api.dataset_sources import create_from_source
from api.dependencies import ContextOf, Reading, WhoAsks
from api.downloads import BYTES
from api.filters import one_of, statuses
from api.headers import etag, is_not_modified
from api.links import links_for
from api.mutations import Call, Calling, Effect, Show, Shown, answer
from api.pages import Listing, PageAnswer, listed
from api.previews import first_rows
from api.routes.models import show_nothing
from api.routing import PlatformRoute, read_json
from api.schemas.dataset_sources import DatasetFromSource
from api.schemas.datasets import (
    ColumnList,
    DatasetPage,
    DatasetPatch,
    DatasetShown,
    PreviewShown,
    column_document,
    dataset_document,
)
from api.schemas.operations import OperationShown
from api.uploads import is_json
from api.validation import read_body
from api.zips import Entry
from core.errors import Conflict, FieldProblem, InvalidField, Json, NotFound
from state.cataloguing import amend
from state.database import ReadSession, WriteSession
from state.datasets import ByReference, DatasetNotReady, NewDataset, create_dataset, delete_dataset, hold_dataset
from state.datatables import Dataset
from state.machines import DATASET
from state.operations import record
from state.queries import datasets
from state.queries.datasets import Beginning, Piece
from state.queries.lists import View
from state.releases import check_all_know
from state.tables import Operation
from storage.digests import Digest

router = APIRouter(prefix="/api/v1/datasets", tags=["datasets"], route_class=PlatformRoute)
LIST = Listing(
    {
        "name": "text",
        "display_name": "text",
        "status": statuses(DATASET),
        "kind": one_of(("table", "files")),
        "format": "text",
        "digest": "text",
        "filename": "text",
        "role": one_of(("input", "output", "bad_rows")),
        "rows": "number",
        "size_bytes": "number",
        "created_at": "time",
        "updated_at": "time",
    },
    orders=("created_at", "name", "updated_at"),
)
MOST_IN_A_ZIP: Final = 200_000
SHOWN = {"model": DatasetShown}
SOURCE_CONTENT = {"application/json": {"schema": {"$ref": "#/components/schemas/DatasetFromSource"}}}
SENT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": BYTES},
    206: {"description": "The range asked for.", "content": BYTES},
}


class TooManyFiles(Conflict):
    """The dataset has more files than are put into one archive; each is downloaded by itself."""

    code, title = "too_many_files", "The dataset has too many files for an archive"


@router.get("", operation_id="list_datasets", openapi_extra=LIST.parameters, responses={200: {"model": DatasetPage}})
async def list_datasets(
    request: Request, context: ContextOf, session: Reading, who: WhoAsks, view: Annotated[View, Depends(LIST)]
) -> Response:
    """The tenant's datasets, the newest first."""
    links = links_for(request, context.settings)
    found = await datasets.list_datasets(session, who.tenant_id, view)
    return listed(request, found, [dataset_document(row, links) for row in found.rows])


@router.post(
    "",
    operation_id="create_dataset",
    status_code=202,
    responses={201: SHOWN, 202: {"model": OperationShown}},
    openapi_extra={"requestBody": {"required": True, "content": {**SOURCE_CONTENT, **FORM_CONTENT, **RAW_CONTENT}}},
)
async def create(call: Calling, query: Annotated[RawFields, Depends()]) -> Response:
    """A dataset from a form with the part `file`, from the body itself (`?name=…`), or, in JSON, from a source, from an
    upload in parts or from another dataset.

    The answer comes as soon as the bytes are stored, or the source is noted; what is in them is found by the operation,
    which fetches a source first. CSV, TSV, JSON lines, Parquet and Arrow, plain or packed by gzip or zstd, are told by
    their bytes.
    """
    if is_json(call.request):
        query.refuse()
        document = read_json(await call.request.body())
        return await create_from_source(call, read_body(document, DatasetFromSource), show_dataset(call, 201))
    received = await receive_dataset(call, query)
    fields = received.fields
    new = NewDataset(
        fields.name,
        fields.kind,
        pieces=[received.piece],
        filename=received.filename,
        hints=fields.hints(),
        about=fields.about(),
    )

    async def work(session: WriteSession) -> Effect[Operation]:
        await check_all_know(session, "0016", "a dataset")
        row, operation = await create_dataset(session, call.who, new)
        return Effect(operation, row.id)

    return await call.mutate(work, show_dataset(call, 201), body_sha256=received.body_sha256)


@router.get("/{dataset}", operation_id="get_dataset", responses={200: SHOWN})
async def get_dataset(request: Request, context: ContextOf, session: Reading, who: WhoAsks, dataset: str) -> Response:
    """One dataset: its size, format, rows and columns."""
    row = await datasets.find_dataset(session, who.tenant_id, dataset)
    tag = etag(row.edition)
    if is_not_modified(request, tag):
        return Response(status_code=304, headers={"ETag": tag})
    return answer(Shown(dataset_document(row, links_for(request, context.settings)), etag=tag))


@router.patch("/{dataset}", operation_id="update_dataset", responses={200: SHOWN})
async def update_dataset(call: Calling, dataset: str, body: DatasetPatch) -> Response:
    """Change what is said about a dataset (merge patch); its data never change."""
    changes = body.model_dump(include=body.model_fields_set)

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_dataset(session, call.who, dataset)
        call.check_if_match(etag(row.edition))
        amend(row, changes)
        return Effect(await record(session, call.who, "dataset.update", row), row.id)

    return await call.mutate(work, show_dataset(call))


@router.delete("/{dataset}", operation_id="delete_dataset", status_code=204)
async def delete(call: Calling, dataset: str) -> Response:
    """Delete a dataset; refused while a run reads it. One that is still being made is made no longer."""

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await hold_dataset(session, call.who, dataset)
        call.check_if_match(etag(row.edition))
        return Effect(await delete_dataset(session, call.who, row), row.id)

    return await call.mutate(work, show_nothing)


@router.get("/{dataset}/content", operation_id="download_dataset", responses=SENT)
async def download_dataset(
    request: Request,
    context: ContextOf,
    who: WhoAsks,
    dataset: str,
    part: Annotated[int | None, Query(ge=1, description="One of its parts, counted from 1.")] = None,
) -> Response:
    """The data as they were uploaded, or as a run wrote them; `Range` is understood, the ETag is their digest.

    CSV and JSON lines in several parts come as one file. Parquet and Arrow in several parts, and a dataset of files,
    come as a zip archive, which has no ranges; `part` gives one of the parts alone.
    """
    async with context.database.read() as session:
        row = await datasets.find_dataset(session, who.tenant_id, dataset)
        pieces = await datasets.pieces_of(session, row.id)
        files = await datasets.all_files(session, row.id, MOST_IN_A_ZIP + 1) if row.kind == "files" else []
    if row.kind == "files":
        _refuse_part(part, "its files are at /files")
        if len(files) > MOST_IN_A_ZIP:
            raise TooManyFiles(
                f"dataset '{row.name}' has more than {MOST_IN_A_ZIP} files, which no archive holds; GET "
                f"/api/v1/datasets/{row.name}/files lists them"
            )
        entries = [Entry(file.path, file.digest, file.size_bytes) for file in files]
        return await send_zip(request, context, entries, row.name)
    pieces = _chosen(row, pieces, part)
    if len(pieces) > 1 and row.format not in JOINABLE:
        ending = ENDINGS.get(row.format or "", "bin")
        entries = [
            Entry(f"{row.name}-{number:05d}.{ending}", piece.digest, piece.size_bytes)
            for number, piece in enumerate(pieces, 1)
        ]
        return await send_zip(request, context, entries, row.name)
    disposition, media_type = names_of(row.name, row.format, (row.layout or {}).get("compression"), row.filename)
    return await send_joined(request, context, pieces, disposition, media_type)


@router.get("/{dataset}/preview", operation_id="preview_dataset", responses={200: {"model": PreviewShown}})
async def preview_dataset(
    request: Request,
    context: ContextOf,
    who: WhoAsks,
    dataset: str,
    rows: Annotated[int, Query(ge=1, le=500, description="How many rows at most.")] = 50,
) -> Response:
    """Its first rows, which are kept when it is made: as fast for any size."""
    async with context.database.read() as session:
        found = await datasets.find_beginning(session, who.tenant_id, dataset)
        _check_described(found)
        if found.preview_digest is None:
            columns = (await datasets.find_dataset(session, who.tenant_id, dataset)).columns or []
    told = {"total_rows": found.rows, "rows_are_estimated": found.rows_are_estimated}
    if found.preview_digest is None:
        return JSONResponse({"columns": [each["name"] for each in columns], "rows": [], **told})
    content = await first_rows(context.store, Digest.parse(found.preview_digest), rows)
    more = json.dumps(told, separators=(",", ":")).encode().removeprefix(b"{")
    return Response(content + b"," + more, media_type="application/json")


@router.get("/{dataset}/columns", operation_id="list_columns", responses={200: {"model": ColumnList}})
async def list_columns(session: Reading, who: WhoAsks, dataset: str) -> Response:
    """All its columns with their types and what was counted in them."""
    row = await datasets.find_dataset(session, who.tenant_id, dataset)
    _check_described(row)
    items: list[Json] = [column_document(each) for each in row.columns or ()]
    return PageAnswer({"items": items, "rows": row.rows, "rows_are_estimated": row.rows_are_estimated})


def show_dataset(call: Call, status: int = 200) -> Show:
    """How a dataset is shown after a mutation."""

    async def show(session: ReadSession, dataset_id: str) -> Shown:
        row = await session.get_one(Dataset, dataset_id)
        where = call.links.to(f"/api/v1/datasets/{row.name}") if status == 201 else None
        return Shown(dataset_document(row, call.links), status, where, etag(row.edition))

    return show


def _check_described(row: Dataset | Beginning) -> None:
    """Raises `DatasetNotReady`, and `NotFound` for a dataset of files."""
    if row.kind == "files":
        raise NotFound(f"dataset '{row.name}' has files and no columns; GET /api/v1/datasets/{row.name}/files")
    if row.status != "ready":
        why = f": {row.message}" if row.status == "failed" else "; its columns are found when it is ready"
        raise DatasetNotReady(f"dataset '{row.name}' is {row.status}{why}", current_status=row.status)


def _chosen(row: Dataset, pieces: list[Piece], part: int | None) -> list[Piece]:
    """The parts that are asked for. Raises what keeps them from being sent as one."""
    if row.is_reference:
        # Not the URL itself: what stands behind its `?` may be a secret, and problems are kept and logged.
        raise ByReference(f"dataset '{row.name}' is only a reference: its data are where its source_uri says")
    if row.upload_id is not None or not pieces:
        raise DatasetNotReady(f"dataset '{row.name}' has no data here yet", current_status=row.status)
    if part is not None:
        if part > len(pieces):
            detail = f"dataset '{row.name}' has {len(pieces)} part(s), there is no part {part}"
            raise InvalidField(detail, fields=[FieldProblem("/part", detail)])
        return [pieces[part - 1]]
    return pieces


def _refuse_part(part: int | None, why: str) -> None:
    if part is not None:
        detail = f"this dataset has no parts: {why}"
        raise InvalidField(detail, fields=[FieldProblem("/part", detail, "leave it out")])
