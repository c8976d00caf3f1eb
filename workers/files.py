"""Puts the bytes of files into an input that names them: `{"$file": "file_…"}` becomes `{"$base64": "…"}`."""

import base64
import json
from collections.abc import Mapping

from core.errors import FieldProblem, InvalidField, Json
from state.queries.files import DEEPEST, named_files, stored_files
from storage.base import BlobMissing
from storage.digests import Digest
from workers.resources import Resources


async def with_files(document: Mapping[str, Json], tenant_id: str, resources: Resources) -> dict[str, Json]:
    """The document with bytes in place of the names of files.

    Raises `InvalidField` where a file is gone or they make the document too large for a prediction.
    """
    named = named_files(document)
    if not named:
        return dict(document)
    async with resources.database.read() as session:
        files = await stored_files(session, tenant_id, {each.file_id for each in named})
    limit = resources.settings.max_predict_bytes
    # A file's name has more characters than what is written around its bytes.
    left = limit - len(json.dumps(document))
    encoded: dict[str, str] = {}
    for each in named:
        pointer, file_id = each.pointer, each.file_id
        file = files.get(file_id)
        if file is None:
            raise _refused(pointer, f"there is no file '{file_id[:60]}' any more", "upload it again at /api/v1/files")
        left -= -(-file.size_bytes // 3) * 4
        if left < 0:
            raise _refused(
                pointer, f"the files are larger than the {limit} bytes of a prediction", "send less at a time"
            )
        if file_id not in encoded:
            encoded[file_id] = await _encoded(file.digest, pointer, resources)
    replaced = _replaced(document, encoded)
    assert isinstance(replaced, dict)
    return replaced


async def _encoded(digest: str, pointer: str, resources: Resources) -> str:
    try:
        content = b"".join([piece async for piece in resources.store.open(Digest.parse(digest))])
    except BlobMissing as error:
        raise _refused(pointer, "the bytes of this file are gone", "upload it again at /api/v1/files") from error
    return base64.b64encode(content).decode()


def _replaced(value: Json, encoded: Mapping[str, str], depth: int = DEEPEST) -> Json:
    if not depth:
        return value
    if isinstance(value, list):
        return [_replaced(each, encoded, depth - 1) for each in value]
    if not isinstance(value, Mapping):
        return value
    file_id = value.get("$file")
    if len(value) == 1 and isinstance(file_id, str):
        return {"$base64": encoded[file_id]}
    return {name: _replaced(each, encoded, depth - 1) for name, each in value.items()}


def _refused(pointer: str, detail: str, hint: str) -> InvalidField:
    return InvalidField(f"{pointer}: {detail}; {hint}", fields=[FieldProblem(pointer, detail, hint)])
