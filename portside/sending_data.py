"""From a file, a URL or another dataset to a dataset, and its data back into a file: what both clients do."""

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from portside.deploying import open_source
from portside.errors import ApiError, InvalidInput, UnexpectedAnswer
from portside.messages import Answer, Document, Json, Repeat, Request
from portside.requests import IDEMPOTENCY_KEY, changing, encoded, new_key, path_to, reading
from portside.session import Session
from portside.sources import ModelFile, Source
from portside.waiting import Patience, operation_of, wait_for_operation

DataFile = ModelFile | bytes
PIECE_BYTES = 8 * 1024 * 1024  # of one request of a download: what is held in memory
SOURCES = ("source_uri", "dataset", "upload")
Made = tuple[Document, str | None]


async def create(
    session: Session, name: str, data: DataFile | None, said: Mapping[str, Json], patience: Patience, *, wait: bool
) -> Made:
    """The dataset as it is then, and the operation that is still to be waited for.

    Raises `OSError`, `InvalidInput`, `OperationFailed`, `WaitTimeout` and what `Session.send` raises.
    """
    told = {each: value for each, value in said.items() if value is not None}
    given = sum(each in told for each in SOURCES) + (data is not None)
    if given > 1 or (given == 0 and told.get("kind") != "files"):
        raise InvalidInput("Give data, or one of source_uri, dataset and upload.")
    request = _naming(name, told) if data is None else _sending(name, data, told)
    answer = await session.send(request, patience.left_s)
    if answer.status == 201:
        return answer.document, None
    operation = await operation_of(session, answer)
    if wait:
        await wait_for_operation(session, operation, patience)
    return await session.get(path_to("datasets", name)), None if wait else str(operation["id"])


def _naming(name: str, told: Mapping[str, Json]) -> Request:
    return changing("POST", path_to("datasets"), {"name": name, **told})


def _sending(name: str, data: DataFile, told: Mapping[str, Json]) -> Request:
    source = open_source(io.BytesIO(data) if isinstance(data, bytes) else data)
    headers = {
        IDEMPOTENCY_KEY: new_key(),
        "content-type": "application/octet-stream",
        "content-length": str(source.size_bytes),
    }
    if source.name:
        headers["content-disposition"] = f"attachment; filename*=utf-8''{quote(source.name, safe='')}"
    query = {"name": name, **{each: _as_text(value) for each, value in told.items()}}
    return Request("POST", path_to("datasets"), query, headers, source, Repeat.ALWAYS, wants_document=True)


def _as_text(value: Json) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else encoded(value).decode()


async def preview(session: Session, name: str, rows: int) -> Document:
    """The first rows. Raises what `Session.send` raises."""
    return (await session.send(reading(path_to("datasets", name, "preview"), {"rows": rows}))).document


async def download(session: Session, path: str, to: Path) -> Path:
    """What the path gives, in a file that is there whole or not at all; a piece that is lost on its way comes again.

    Raises `OSError`, `UnexpectedAnswer` where it changed meanwhile, and what `send` raises.
    """
    unfinished = to.with_name(f"{to.name}.part")
    try:
        with unfinished.open("wb") as handle:
            tag, at, total = "", 0, 1
            while at < total:
                answer = await _piece(session, path, at, tag)
                if answer is None:
                    break
                tag = answer.headers.get("etag", "")
                total = int(answer.headers.get("content-range", f"/{len(answer.body)}").rpartition("/")[2])
                at += handle.write(answer.body)
        return unfinished.replace(to)
    finally:
        unfinished.unlink(missing_ok=True)


async def _piece(session: Session, path: str, at: int, tag: str) -> Answer | None:
    """The next piece; nothing of what is empty."""
    headers = {"range": f"bytes={at}-{at + PIECE_BYTES - 1}", **({"if-range": tag} if tag else {})}
    try:
        answer = await session.send(Request("GET", path, {}, headers, repeat=Repeat.ALWAYS))
    except ApiError as error:
        if at == 0 and error.status == 416:
            return None
        raise
    if at > 0 and answer.status != 206:
        raise UnexpectedAnswer(f"{path} changed while it was downloaded: begin again.")
    return answer


async def put_file(session: Session, dataset: str, path: str, data: DataFile, content_type: str) -> Document:
    """A file of a dataset of files. Raises `OSError` and what `send` raises."""
    source: Source = open_source(io.BytesIO(data) if isinstance(data, bytes) else data)
    headers = {"content-type": content_type, "content-length": str(source.size_bytes)}
    request = changing("PUT", path_to("datasets", dataset, "files", *path.split("/")), None, headers)
    return (await session.send(replace(request, body=source))).document
