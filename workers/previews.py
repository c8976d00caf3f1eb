"""The first rows of a dataset as they are kept: a JSON document in the store, small enough to be read at every look.

It has one row a line, so that `api.previews` can cut it without reading it.
"""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Final

from core.errors import Json, StoreUnavailable
from state.blobs import touch_blob
from storage.base import BlobMissing, Stored
from workers.resources import Resources

LARGEST_BYTES: Final = 2 * 1024 * 1024


async def keep_preview(resources: Resources, columns: Sequence[Json], rows: Sequence[Json]) -> str:
    """Put `{"columns":[…],"rows":[[…]…]}` into the store, fewer rows where they are too large; the digest.

    Raises `StoreUnavailable`.
    """
    content = cut_preview(columns, rows)

    async def pieces() -> AsyncIterator[bytes]:
        yield content

    stored = await resources.store.put(pieces())
    await keep(resources, stored)
    return str(stored.digest)


def cut_preview(columns: Sequence[Json], rows: Sequence[Json]) -> bytes:
    """The document with as many rows as fit."""
    head = b'{"columns":%b,"rows":[' % _line(columns)
    kept, size = list[bytes](), len(head) + 100
    for row in rows:
        line = _line(row)
        size += len(line) + 2
        if size > LARGEST_BYTES:
            break
        kept.append(line)
    return b"\n".join([head, *(line + b"," for line in kept[:-1]), *kept[-1:], b"]}"])


def _line(value: Json) -> bytes:
    """Without a line end, which JSON has only between values."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


async def keep(resources: Resources, stored: Stored) -> None:
    """Say in the database that these bytes are in use (ARCHITECTURE, sentence 8). Raises `StoreUnavailable`."""
    async with resources.database.write() as session:
        await touch_blob(session, str(stored.digest), stored.size_bytes)
    try:
        await resources.store.stat(stored.digest)
    except BlobMissing as error:
        raise StoreUnavailable("the same bytes were just being deleted here; it is tried again") from error
