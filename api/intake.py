"""From an upload to a version: receive the bytes, check what was said beside them, then write the rows at once."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.responses import Response

from api.headers import etag
from api.links import Links
from api.mutations import Call, Effect, Shown
from api.schemas.models import require_name
from api.schemas.versions import FORM_FIELDS, UploadFields, read_upload_fields, version_document
from api.uploads import Received, receive
from core.errors import FieldProblem, InvalidField, Json, NameTaken
from state.blobs import hold_blob
from state.cataloguing import Description, NewVersion, add_version, create_model
from state.database import ReadSession, WriteSession
from state.operations import Who
from state.queries.models import seek_model
from state.queries.versions import alias_names
from state.tables import Model, Operation, Version

_TEXT: Final = {"type": "string"}
FORM_CONTENT: Final[dict[str, Any]] = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["file"],
            "properties": {
                "file": {"type": "string", "format": "binary", "description": "An ONNX or PMML file."},
                "name": {**_TEXT, "description": "The model's name."},
                "display_name": _TEXT,
                "description": _TEXT,
                "tags": {**_TEXT, "description": "A JSON list, or names with commas between them."},
                "task": {**_TEXT, "description": "Overrides the task that the inspection finds."},
                "type": {**_TEXT, "enum": ["auto", "onnx", "pmml"], "description": "What the file must be."},
                "metrics": {**_TEXT, "description": "A JSON object of any figures."},
                "features": {**_TEXT, "description": 'Names for the places of a vector: {"float_input": ["age", …]}.'},
            },
        }
    }
}
RAW_CONTENT: Final[dict[str, Any]] = {
    media_type: {"schema": {"type": "string", "format": "binary"}}
    for media_type in ("application/octet-stream", "application/xml")
}


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that is in the store, and its checked fields."""

    received: Received
    fields: UploadFields
    model: str


async def upload_version(call: Call, model: str | None) -> Response:
    """Receive a version of the named model (made when it is missing), or of a new one that the form names."""
    upload = await _receive(call, model)

    async def work(session: WriteSession) -> Effect[Operation]:
        await hold_blob(session, str(upload.received.stored.digest))
        row = await _model_for(session, call.who, upload, must_be_new=model is None)
        version, operation = await add_version(session, call.who, row, _new_version(upload, is_alone=model is not None))
        return Effect(operation, version.id)

    return await call.mutate(work, show_version(call, status=201), body_sha256=upload.received.body_sha256)


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


async def _receive(call: Call, path_name: str | None) -> Upload:
    if path_name is not None:
        require_name(path_name, "/model", "a model")
    checked: list[UploadFields] = []

    async def check(given: Mapping[str, str], found_format: str) -> None:
        fields = read_upload_fields(given)
        _check_fields(fields, found_format, path_name)
        if path_name is None:
            await _check_free(call, fields.name or "")
        checked.append(fields)

    async with call.receiving():
        received = await receive(call.request, call.context, check, FORM_FIELDS)
    return Upload(received, checked[0], path_name or checked[0].name or "")


def _check_fields(fields: UploadFields, found_format: str, path_name: str | None) -> None:
    if fields.type not in (None, "auto", found_format):
        detail = f"the file is {found_format.upper()}, not {str(fields.type).upper()}"
        hint = f"leave out 'type', or say '{found_format}'"
        raise InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/type", detail, hint)])
    if path_name is None and fields.name is None:
        detail = "a new model needs a name"
        raise InvalidField(detail, fields=[FieldProblem("/name", detail, "add the field: curl -F name=iris …")])
    if path_name is not None and fields.name not in (None, path_name):
        detail = f"the form names the model '{fields.name}', the path names '{path_name}'"
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


async def _model_for(session: WriteSession, who: Who, upload: Upload, *, must_be_new: bool) -> Model:
    found = None if must_be_new else await seek_model(session, who.tenant_id, upload.model)
    if found is not None:
        return found
    return await create_model(session, who, upload.model, _about(upload.fields) if must_be_new else Description())


def _new_version(upload: Upload, *, is_alone: bool) -> NewVersion:
    stored, fields = upload.received.stored, upload.fields
    return NewVersion(
        digest=str(stored.digest),
        size_bytes=stored.size_bytes,
        format=upload.received.format,
        filename=upload.received.filename,
        task=fields.task,
        metrics=fields.metrics,
        features=fields.features,
        about=_about(fields) if is_alone else Description(),
    )


def _about(fields: UploadFields) -> Description:
    return Description(fields.display_name, fields.description, fields.tags or ())
