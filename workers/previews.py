"""The first rows of a dataset as they are kept: a JSON document in the store, small enough to be read at every look."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Final

from core.errors import Json, StoreUnavailable
from state.blobs import touch_blob
from storage.base import BlobMissing, Stored
from workers.resources import Resources

LARGEST_BYTES: Final = 2 * 1024 * 1024  # read and cut within some 20 ms


async def keep_preview(resources: Resources, columns: Sequence[Json], rows: Sequence[Json]) -> str:
    """Put `{"columns": […], "rows": [[…]…]}` into the store, fewer rows where they are too large; the digest.

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
    kept, size = [], len(json.dumps(columns)) + 100
    for row in rows:
        text = json.dumps(row)
        size += len(text) + 1
        if size > LARGEST_BYTES:
            break
        kept.append(text)
    return f'{{"columns":{json.dumps(columns)},"rows":[{",".join(kept)}]}}'.encode()


async def keep(resources: Resources, stored: Stored) -> None:
    """Say in the database that these bytes are in use (ARCHITECTURE, sentence 8). Raises `StoreUnavailable`."""
    async with resources.database.write() as session:
        await touch_blob(session, str(stored.digest), stored.size_bytes)
    try:
        await resources.store.stat(stored.digest)
    except BlobMissing as error:
        raise StoreUnavailable("the same bytes were just being deleted here; it is tried again") from error
