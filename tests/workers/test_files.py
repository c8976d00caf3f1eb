"""The bytes of files in the place of their names: all of them, and no more than a prediction may have."""

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from core.errors import InvalidField, Json
from state.blobs import touch_blob
from state.migrate import DEFAULT_TENANT
from state.queries import files
from tests.workers.platform import WHO, Platform
from workers.files import with_files
from workers.resources import Resources


async def kept(platform: Platform, content: bytes) -> str:
    """The id of a file with these bytes."""

    async def pieces() -> AsyncIterator[bytes]:
        yield content

    stored = await platform.resources.store.put(pieces(), max_bytes=1_000_000)
    async with platform.resources.database.write() as session:
        await touch_blob(session, str(stored.digest), len(content))
        new = files.NewFile(str(stored.digest), len(content), "a", "text/plain", {})
        return (await files.add(session, WHO, new)).id


def limited(platform: Platform, limit: int) -> Resources:
    settings = platform.resources.settings.model_copy(update={"max_predict_bytes": limit})
    return replace(platform.resources, settings=settings)


async def test_every_file_is_put_in_its_place(platform: Platform) -> None:
    one, two = await kept(platform, b"1"), await kept(platform, b"2")
    long = "n" * 100
    named: dict[str, Json] = {f"{long}1": {"$file": one}, f"{long}2": {"$file": two}, "again": [{"$file": two}]}
    found = await with_files({"inputs": [named]}, DEFAULT_TENANT, platform.resources)
    first, second = ({"$base64": base64.b64encode(data).decode()} for data in (b"1", b"2"))
    assert found == {"inputs": [{f"{long}1": first, f"{long}2": second, "again": [second]}]}


@pytest.mark.parametrize("size", [299, 300, 301])
async def test_what_is_sent_is_never_larger_than_a_prediction_may_be(platform: Platform, size: int) -> None:
    document: dict[str, Json] = {"inputs": {"x": {"$file": await kept(platform, bytes(size))}, "job": "a" * 50}}
    encoded = len(base64.b64encode(bytes(size)))
    limit = len(json.dumps(document)) + encoded
    whole = await with_files(document, DEFAULT_TENANT, limited(platform, limit))
    assert len(json.dumps(whole)) <= limit
    for less in (limit - 1, encoded, size * 4 // 3):
        with pytest.raises(InvalidField) as caught:
            await with_files(document, DEFAULT_TENANT, limited(platform, less))
        assert caught.value.fields[0].pointer == "/inputs/x"
