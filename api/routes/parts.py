"""Parts of a version whose file is an archive of several models: list, describe, download each."""

from pathlib import PurePosixPath

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from api.dependencies import ContextOf, Reading, WhoAsks
from api.downloads import BYTES, attachment, send_packed
from api.links import links_for
from api.routing import PlatformRoute
from api.schemas.parts import PartList, PartShown, part_document
from state.database import Session
from state.parts import find_part, parts_of
from state.queries.models import find_model
from state.queries.versions import find_version
from state.tables import Model, Version
from storage.digests import Digest
from storage.packed import PackedFile

router = APIRouter(
    prefix="/api/v1/models/{model}/versions/{version}/parts", tags=["versions"], route_class=PlatformRoute
)


@router.get("", operation_id="list_parts", responses={200: {"model": PartList}})
async def list_parts(
    request: Request, context: ContextOf, session: Reading, who: WhoAsks, model: str, version: str
) -> Response:
    """The models in the archive that this version is, in the order of its `portside.json`.

    There are none where the version is one model, and until it is inspected.
    """
    owner, row = await _find(session, who.tenant_id, model, version)
    links = links_for(request, context.settings)
    return JSONResponse({"items": [part_document(part, row, owner.name, links) for part in parts_of(row.signature)]})


@router.get("/{part}", operation_id="get_part", responses={200: {"model": PartShown}})
async def get_part(
    request: Request, context: ContextOf, session: Reading, who: WhoAsks, model: str, version: str, part: str
) -> Response:
    """One of these models by its key: its inputs and outputs, its task, a sample."""
    owner, row = await _find(session, who.tenant_id, model, version)
    found = find_part(row.signature, part, _words(owner, row))
    return JSONResponse(part_document(found, row, owner.name, links_for(request, context.settings)))


@router.get(
    "/{part}/artifact",
    operation_id="download_part",
    responses={200: {"content": BYTES}, 206: {"description": "The range asked for.", "content": BYTES}},
)
async def download_part(
    request: Request, context: ContextOf, who: WhoAsks, model: str, version: str, part: str
) -> Response:
    """The file of one part, as it is in the archive; `Range` is understood, the ETag is the digest of this file."""
    async with context.database.read() as session:
        owner, row = await _find(session, who.tenant_id, model, version)
    found = find_part(row.signature, part, _words(owner, row))
    where = ("offset_bytes", "packed_bytes", "size_bytes", "is_deflated")
    file = PackedFile(Digest.parse(row.digest), **{name: found[name] for name in where})
    plain = f"{owner.name}-{row.number}-{part}.{found['signature']['format']}"
    return await send_packed(
        request, context, file, found["digest"], attachment(plain, PurePosixPath(found["file"]).name)
    )


async def _find(session: Session, tenant_id: str, model: str, version: str) -> tuple[Model, Version]:
    owner = await find_model(session, tenant_id, model)
    return owner, await find_version(session, owner, version)


def _words(owner: Model, row: Version) -> str:
    return f"version {row.number} of model '{owner.name}'"
