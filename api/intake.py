"""From an upload or a URL to a version: receive the bytes, or leave them to a worker, check what was said beside them,
then write the rows at once."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from starlette.responses import Response

from api.addresses import check_source_uri
from api.headers import etag
from api.links import Links
from api.multipart import file_name
from api.mutations import Call, DoWork, Effect, Shown
from api.schemas.models import require_name
from api.schemas.versions import FORM_FIELDS, SourceFields, UploadFields, read_upload_fields, version_document
from api.uploads import Received, receive
from core.errors import FieldProblem, InvalidField, Json, NameTaken
from state.blobs import hold_blob
from state.cataloguing import Description, NewVersion, add_version, create_model
from state.database import ReadSession, WriteSession
from state.parts import FORMAT
from state.queries.models import seek_model
from state.queries.versions import alias_names
from state.releases import check_parts_known
from state.tables import Model, Operation, Version

_TEXT: Final = {"type": "string"}
FORM_CONTENT: Final[dict[str, Any]] = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["file"],
            "additionalProperties": False,
            "properties": {
                "file": {
                    "type": "string",
                    "format": "binary",
                    "description": "An ONNX or PMML file, or a zip of some.",
                },
                "name": {**_TEXT, "description": "The model's name.", "examples": ["churn"]},
                "display_name": _TEXT,
                "description": _TEXT,
                "tags": {
                    **_TEXT,
                    "description": "A JSON list, or names with commas between them.",
                    "examples": ["marketing,weekly"],
                },
                "task": {**_TEXT, "description": "Overrides the task that the inspection finds."},
                "type": {**_TEXT, "enum": ["auto", "onnx", "pmml", "parts"], "description": "What the file must be."},
                "metrics": {
                    **_TEXT,
                    "description": "A JSON object of any figures.",
                    "examples": ['{"accuracy": 0.93}'],
                },
                "features": {
                    **_TEXT,
                    "description": "Names for the places of a vector, by input.",
                    "examples": ['{"float_input": ["age", "height"]}'],
                },
            },
        }
    }
}
SOURCE_CONTENT: Final[dict[str, Any]] = {"application/json": {"schema": {"$ref": "#/components/schemas/SourceFields"}}}
RAW_CONTENT: Final[dict[str, Any]] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
Fields = UploadFields | SourceFields


async def upload_version(call: Call, model: str | None) -> Response:
    """Receive a version of the named model (made when it is missing), or of a new one that the form names."""
    received, fields = await _receive(call, model)
    stored = received.stored
    wanted = NewVersion(str(stored.digest), stored.size_bytes, received.format, filename=received.filename)
    work = _work(call, model, fields, wanted)
    return await call.mutate(work, show_version(call, status=201), body_sha256=received.body_sha256)


async def version_from_source(call: Call, model: str | None, fields: SourceFields) -> Response:
    """The same for a file at a URL, which a worker fetches."""
    if model is not None:
        require_name(model, "/model", "a model")
    _check_name(fields.name, model, "body")
    uri = fields.source_uri
    check_source_uri(uri, call.context.settings, "/source_uri")
    wanted = NewVersion(source_uri=uri, type=fields.type, filename=file_name(unquote(urlsplit(uri).path)))
    return await call.mutate(_work(call, model, fields, wanted), show_version(call, status=201))


def _work(call: Call, model: str | None, fields: Fields, wanted: NewVersion) -> DoWork[Operation]:
    """What makes the version. What is said about it is said of the model, where that is made with it."""
    about = Description(fields.display_name, fields.description, fields.tags or ())
    of_model, of_version = (about, Description()) if model is None else (Description(), about)
    said = replace(wanted, task=fields.task, metrics=fields.metrics, features=fields.features)
    wanted = replace(said, about=of_version)

    async def work(session: WriteSession) -> Effect[Operation]:
        if FORMAT in (wanted.format, wanted.type):
            await check_parts_known(session)
        if wanted.digest:
            await hold_blob(session, wanted.digest)
        found = None if model is None else await seek_model(session, call.who.tenant_id, model)
        row = found or await create_model(session, call.who, model or fields.name or "", of_model)
        version, operation = await add_version(session, call.who, row, wanted)
        return Effect(operation, version.id)

    return work


def show_version(call: Call, status: int = 200) -> Callable[[ReadSession, str], Awaitable[Shown]]:
    """How a version is shown after a mutation."""

    async def show(session: ReadSession, version_id: str) -> Shown:
        version = await session.get_one(Version, version_id)
        model = await session.get_one(Model, version.model_id)
        document = await shown_version(session, version, model.name, call.links)
        where = call.links.to(f"/api/v1/models/{model.name}/versions/{version.number}") if status == 201 else None
        return Shown(document, status, where, etag(version.edition))

    return show


async def shown_version(session: ReadSession, version: Version, model: str, links: Links) -> dict[str, Json]:
    """The overview of one version."""
    aliases = await alias_names(session, [version.id])
    return version_document(version, model, aliases.get(version.id, []), links)


async def _receive(call: Call, path_name: str | None) -> tuple[Received, UploadFields]:
    if path_name is not None:
        require_name(path_name, "/model", "a model")
    checked: list[UploadFields] = []

    async def check(given: Mapping[str, str], found_format: str) -> None:
        fields = read_upload_fields(given)
        _check_fields(fields, found_format, path_name)
        if found_format == FORMAT:  # here as well, so that a refused upload leaves nothing in the store
            async with call.context.database.read() as session:
                await check_parts_known(session)
        if path_name is None:
            await _check_free(call, fields.name or "")
        checked.append(fields)

    async with call.receiving():
        received = await receive(call.request, call.context, check, FORM_FIELDS)
    return received, checked[0]


def _check_fields(fields: UploadFields, found_format: str, path_name: str | None) -> None:
    if fields.type not in (None, "auto", found_format):
        detail = f"the file is {found_format.upper()}, not {str(fields.type).upper()}"
        hint = f"leave out 'type', or say '{found_format}'"
        raise InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/type", detail, hint)])
    _check_name(fields.name, path_name, "form")


def _check_name(name: str | None, path_name: str | None, body: str) -> None:
    if path_name is None and name is None:
        detail = "a new model needs a name"
        raise InvalidField(detail, fields=[FieldProblem("/name", detail, "add the field: curl -F name=iris …")])
    if path_name is not None and name not in (None, path_name):
        detail = f"the {body} names the model '{name}', the path names '{path_name}'"
        raise InvalidField(detail, fields=[FieldProblem("/name", detail, "leave out the field 'name'")])


async def _check_free(call: Call, name: str) -> None:
    """A taken name is told before the bytes are kept; a replay finds its own model there and is no conflict."""
    if call.key is not None:
        return
    async with call.context.database.read() as session:
        if await seek_model(session, call.who.tenant_id, name) is not None:
            raise NameTaken(
                f"a model named '{name}' exists; upload a version to it at /api/v1/models/{name}/versions, "
                "or take another name",
                holder=f"/api/v1/models/{name}",
            )
