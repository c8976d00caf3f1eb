"""From what a JSON body says of a dataset's source to the rows that make it; a worker fetches and reads."""

import json
import posixpath
import re
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from starlette.responses import Response

from api.addresses import check_endpoint, check_source_uri
from api.multipart import file_name
from api.mutations import Call, Effect, Show
from api.schemas.dataset_sources import DatasetFromSource, S3Credentials
from core.errors import FieldProblem, InvalidField, named_by
from core.settings import Settings
from state.database import WriteSession
from state.datasets import (
    NewDataset,
    check_ready,
    copy_dataset,
    create_dataset,
    create_empty,
    hold_dataset,
)
from state.datatables import Dataset
from state.operations import Who
from state.queries.datasets import pieces_of
from state.releases import check_all_know
from state.tables import Operation
from state.uploads import hold_upload, take_parts
from storage.access import is_within

POINTER: Final = "/source_uri"
S3_URI: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([^\x00-\x1f\x7f]{1,1024})")
DOTS: Final = frozenset({".", ".."})  # which somebody on the way may take for steps
CREDENTIALS: Final = "dataset credentials"  # what they are sealed for


async def create_from_source(call: Call, body: DatasetFromSource, show: Show) -> Response:
    """Make the dataset once. Raises `InvalidField`, `NotFound`, `NameTaken`, what the source says against it."""
    _check_source(body, call.context.settings)
    limit = call.context.settings.max_dataset_bytes

    async def work(session: WriteSession) -> Effect[Operation]:
        await check_all_know(session, "0016", "a dataset")
        row, operation = await _made(session, call, body, limit)
        return Effect(operation, row.id)

    return await call.mutate(work, show)


async def _made(session: WriteSession, call: Call, body: DatasetFromSource, limit: int) -> tuple[Dataset, Operation]:
    who = call.who
    new = NewDataset(body.name, body.kind, hints=body.hints(), about=body.about())
    if body.upload is not None:
        return await create_dataset(session, who, await _of_upload(session, who, new, body.upload, limit))
    if body.dataset is not None:
        return await _copied(session, who, new, body.dataset)
    if body.source_uri is None:
        return await create_empty(session, who, new)
    new.source_uri = body.source_uri
    new.is_reference = body.reference
    new.filename = file_name(unquote(urlsplit(body.source_uri).path))
    if body.credentials is not None:
        text = json.dumps(body.credentials.model_dump(exclude_none=True))
        new.credential_sealed = call.context.vault.seal(text, CREDENTIALS)
    return await create_dataset(session, who, new)


async def _of_upload(session: WriteSession, who: Who, new: NewDataset, upload: str, limit: int) -> NewDataset:
    with named_by("/upload"):
        row = await hold_upload(session, who.tenant_id, upload)
    new.filename = row.filename
    new.pieces = await take_parts(session, row, limit)
    if not new.pieces:
        detail = f"upload {upload} has no part yet"
        raise InvalidField(detail, fields=[FieldProblem("/upload", detail, f"PUT /api/v1/uploads/{upload}/parts/1")])
    new.upload_id = upload
    return new


async def _copied(session: WriteSession, who: Who, new: NewDataset, name: str) -> tuple[Dataset, Operation]:
    """A failed one may be copied, too, where hints may mend what was wrong with it."""
    with named_by("/dataset"):
        source = await hold_dataset(session, who, name)
        if not (source.status == "failed" and source.digest is not None and new.hints):
            await check_ready(session, source)
    if source.is_reference or source.kind != new.kind:
        why = "is only a reference" if source.is_reference else f"has {source.kind}"
        detail, hint = (
            f"dataset '{name}' {why}",
            "make one of its source_uri" if source.is_reference else "say its kind",
        )
        raise InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/dataset", detail, hint)])
    new.pieces = await pieces_of(session, source.id)
    if new.hints and len(new.pieces) > 1:
        detail = f"dataset '{name}' has {len(new.pieces)} parts, which a run wrote: how they are read is known"
        raise InvalidField(detail, fields=[FieldProblem("/dataset", detail, "leave the hints out")])
    return await copy_dataset(session, who, new, source)


def check_place(uri: str, settings: Settings, pointer: str) -> None:
    """Raises `InvalidField` at `pointer` unless a dataset can be made of what is there, without keys of its own."""
    try:
        _check_source(DatasetFromSource(name="any", source_uri=uri), settings)
    except InvalidField as error:
        raise InvalidField(error.message, fields=[replace(each, pointer=pointer) for each in error.fields]) from error


def _check_source(body: DatasetFromSource, settings: Settings) -> None:
    """What can be told of a source while somebody listens; whoever fetches it looks again."""
    uri = body.source_uri
    if uri is None:
        return None
    scheme = uri.partition("://")[0].lower()
    if scheme == "s3":
        return _check_bucket(uri, body.credentials, settings)
    if body.credentials is not None:
        raise _refused("/credentials", "credentials are for an s3:// source", "leave them out")
    if scheme == "file":
        return _check_file(uri, settings)
    return check_source_uri(uri, settings, POINTER)


def _check_bucket(uri: str, credentials: S3Credentials | None, settings: Settings) -> None:
    found = S3_URI.fullmatch(uri)
    if found is None or not DOTS.isdisjoint(found[2].split("/")):
        raise _refused(POINTER, "this names no object of a bucket", "write it as s3://BUCKET/KEY")
    if credentials is not None:
        if credentials.endpoint is not None:
            check_endpoint(credentials.endpoint, settings, "/credentials/endpoint")
        return
    if not any(is_within(f"{found[1]}/{found[2]}", place) for place in settings.source_buckets):
        raise _refused(
            POINTER,
            f"the bucket {found[1]} is not open to this platform's own keys (PORTSIDE_SOURCE_BUCKETS)",
            "add 'credentials' with keys of your own",
        )


def _check_file(uri: str, settings: Settings) -> None:
    try:
        parts = urlsplit(uri)
    except ValueError as error:  # a bracket that is no address
        raise _refused(POINTER, f"this is no URI: {error}", "write it as file:///FOLDER/FILE") from error
    path = posixpath.normpath(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or parts.query or "\x00" in path:
        raise _refused(POINTER, "this names no file of the platform's machine", "write it as file:///FOLDER/FILE")
    if not any(PurePosixPath(path).is_relative_to(root) for root in settings.file_roots):
        opened = ", ".join(settings.file_roots) or "none is"
        hint = f"folders that are open: {opened} (PORTSIDE_FILE_ROOTS)"
        raise _refused(POINTER, f"{path[:200]} is in no folder that is open here", hint)


def _refused(pointer: str, detail: str, hint: str) -> InvalidField:
    return InvalidField(f"{detail}; {hint}", fields=[FieldProblem(pointer, detail, hint)])
