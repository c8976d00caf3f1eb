"""Versions of several models: uploaded as one archive, told in short and at length, each downloaded by its key."""

import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient, Response

from api.dependencies import Context
from api.schemas.parts import PartList, PartShown
from api.schemas.predictions import PredictionShown
from api.schemas.versions import VersionShown
from serving.parts.loading import inspect_parts
from serving.signature_json import encode_signature
from state.database import WriteSession
from state.endings import Locked, succeed
from state.history import By
from state.processes import Presence, Self
from tests.api.catalogue import (
    EXAMPLES,
    OCTETS,
    ONNX,
    is_running,
    left_behind,
    ready_version,
    running_service,
    upload,
)
from tests.api.platform import add_user, is_problem, work_on

VERSIONS = "/api/v1/models/iris/versions"
PARTS = f"{VERSIONS}/1/parts"
BODY = {"inputs": {"x": 1}}
WINE = (EXAMPLES / "wine-clusters.onnx").read_bytes()
MANIFEST = {
    "parts": {"de": "models/de.onnx", "fr": {"file": "fr.onnx", "description": "Vins de France"}},
    "default": "fr",
}


def archive(
    *, manifest_first: bool = True, manifest: object = MANIFEST, filler: bytes = b"", first: str = "LICENSE"
) -> bytes:
    """`de` is deflated, `fr` is stored."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(first, b"content")
        if manifest_first and manifest is not None:
            made.writestr("portside.json", json.dumps(manifest))
        made.writestr("README.md", filler, zipfile.ZIP_STORED)
        made.writestr("models/de.onnx", ONNX)
        made.writestr("fr.onnx", WINE, zipfile.ZIP_STORED)
        if not manifest_first and manifest is not None:
            made.writestr("portside.json", json.dumps(manifest))
    return file.getvalue()


ARCHIVE = archive()


@pytest.fixture
async def inspected(client: AsyncClient, context: Context, tmp_path: Path) -> None:
    """Version 1 of `iris` with what a real inspection finds in it."""
    content = ARCHIVE
    (tmp_path / "models.zip").write_bytes(content)
    signature = json.loads(encode_signature(inspect_parts(tmp_path / "models.zip", 1)))

    async def is_accepted(session: WriteSession, work: Locked) -> None:
        target = {"signature": signature, "task": signature["task"]}
        await succeed(session, work, By("worker"), result={}, row={}, target=target)

    await upload(client, content=content)
    await work_on(context, is_accepted)


async def send(
    client: AsyncClient, content: bytes, piece_bytes: int = 10_000, kind: str = OCTETS["content-type"]
) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), piece_bytes):
            yield content[start : start + piece_bytes]

    return await client.post(VERSIONS, content=pieces(), headers={"content-type": kind})


@asynccontextmanager
async def older_process(context: Context) -> AsyncIterator[None]:
    """A worker of the last release that does not know parts."""
    old = Presence(context.database, Self("worker:1", "worker", "here", 1, "0.1", "0012"))
    await old.start()
    try:
        yield
    finally:
        await old.stop()


@pytest.mark.parametrize("manifest_first", [True, False])
@pytest.mark.parametrize("filler", [b"", bytes(300_000)])
async def test_an_archive_with_a_manifest_is_taken_wherever_it_stands(
    client: AsyncClient, manifest_first: bool, filler: bytes
) -> None:
    answer = await send(client, archive(manifest_first=manifest_first, filler=filler))
    assert answer.status_code == 202, answer.text
    shown = VersionShown.model_validate((await client.get(f"{VERSIONS}/1")).json())
    assert (shown.format, shown.parts) == ("parts", None)


@pytest.mark.parametrize("piece_bytes", [1009, 64 * 1024, 1024 * 1024])
async def test_the_name_of_the_manifest_is_found_across_pieces(client: AsyncClient, piece_bytes: int) -> None:
    content = archive(manifest_first=False, filler=bytes(100_000))
    assert (await send(client, content, piece_bytes)).status_code == 202


@pytest.mark.parametrize("filler", [b"", bytes(300_000)])
async def test_an_archive_without_a_manifest_is_refused_with_the_way_to_one(client: AsyncClient, filler: bytes) -> None:
    problem = is_problem(await send(client, archive(manifest=None, filler=filler)), 422, "invalid_artifact")
    assert "portside.json" in str(problem["detail"])
    assert [error["pointer"] for error in problem["errors"]] == ["/file"]  # type: ignore[attr-defined]  # a problem has them


@pytest.mark.parametrize("name", ["metadata.json", "models/schema.json", "data.pkl", "stages/0", "[Content_Types].xml"])
async def test_other_files_in_an_archive_do_not_make_it_foreign(client: AsyncClient, name: str) -> None:
    content = archive(manifest_first=False, filler=bytes(300_000), first=name)
    assert (await send(client, content)).status_code == 202


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("config.json", "a Keras model"),
        ("schema.json", "a skops file"),
        ("metadata/part-00000", "a Spark ML model"),
        ("model/data.pkl", "a PyTorch model"),
    ],
)
async def test_a_large_archive_of_another_framework_is_named_at_its_end(
    client: AsyncClient, context: Context, name: str, what: str
) -> None:
    small, large = [archive(manifest=None, filler=filler, first=name) for filler in (b"", bytes(300_000))]
    problem = is_problem(await send(client, large), 422, "format_not_served")
    assert str(problem["detail"]).startswith(f"the file seems to be {what}; that format is not served. Export it")
    assert problem["detail"] == (await send(client, small)).json()["detail"]
    assert await left_behind(context) == []


@pytest.mark.parametrize("kind", ["application/zip", "application/x-zip-compressed"])
async def test_an_archive_may_say_what_it_is(client: AsyncClient, kind: str) -> None:
    assert (await send(client, archive(), kind=kind)).status_code == 202


async def test_a_form_may_say_that_it_brings_parts(client: AsyncClient) -> None:
    files = {"file": ("models.zip", archive())}
    assert (await client.post(VERSIONS, data={"type": "parts"}, files=files)).status_code == 202
    problem = is_problem(await client.post(VERSIONS, data={"type": "onnx"}, files=files), 422, "invalid_field")
    assert "the file is PARTS, not ONNX" in str(problem["detail"])


@pytest.mark.usefixtures("inspected")
async def test_a_version_tells_its_parts_in_short_and_its_default_one_at_length(client: AsyncClient) -> None:
    shown = VersionShown.model_validate((await client.get(f"{VERSIONS}/1")).json())
    assert shown.parts is not None
    assert [(part.key, part.is_default, part.task) for part in shown.parts] == [
        ("de", False, "classification"),
        ("fr", True, "clustering"),
    ]
    assert (shown.task, shown.format) == ("clustering", "parts")
    default = (await client.get(shown.parts[1].url)).json()
    whole = (await client.get(f"{VERSIONS}/1")).json()
    same = ("inputs", "outputs", "sample", "sample_output", "engine", "opset", "task", "algorithm")
    assert {name: whole[name] for name in same} == {name: default[name] for name in same}


@pytest.mark.usefixtures("inspected")
async def test_the_parts_are_listed_in_the_order_of_the_manifest_and_found_by_key(client: AsyncClient) -> None:
    items = PartList.model_validate((await client.get(PARTS)).json()).items
    assert [(part.key, part.file, part.description) for part in items] == [
        ("de", "models/de.onnx", None),
        ("fr", "fr.onnx", "Vins de France"),
    ]
    for part in items:
        assert PartShown.model_validate((await client.get(part.url)).json()) == part
        assert part.sample is not None
    assert items[0].digest == f"sha256:{hashlib.sha256(ONNX).hexdigest()}"


@pytest.mark.usefixtures("inspected")
async def test_names_of_the_version_are_those_of_its_default_part(client: AsyncClient) -> None:
    default = (await client.get(f"{PARTS}/fr")).json()["inputs"][0]
    names = [f"f{at}" for at in range(default["shape"][1])]
    answer = await client.patch(f"{VERSIONS}/1", json={"features": {default["name"]: names}})
    assert answer.status_code == 200, answer.text
    assert list((await client.get(f"{PARTS}/fr")).json()["sample"]) == names
    assert list((await client.get(f"{PARTS}/de")).json()["sample"]) == ["float_input"]


@pytest.mark.usefixtures("inspected")
async def test_the_task_that_is_said_of_the_version_is_that_of_its_default_part(client: AsyncClient) -> None:
    for said, told in (("anomaly", "anomaly"), (None, "clustering")):
        answer = await client.patch(f"{VERSIONS}/1", json={"task": said})
        assert [part["task"] for part in answer.json()["parts"]] == ["classification", told]
        tasks = {key: (await client.get(f"{PARTS}/{key}")).json()["task"] for key in ("de", "fr")}
        assert tasks == {"de": "classification", "fr": told}


@pytest.mark.usefixtures("inspected")
@pytest.mark.parametrize(("key", "content"), [("de", ONNX), ("fr", WINE)])
@pytest.mark.parametrize(
    ("asked", "status", "first", "stop"),
    [(None, 200, 0, None), ("bytes=0-9", 206, 0, 10), ("bytes=100-", 206, 100, None), ("bytes=-7", 206, -7, None),
     ("bytes=5-999999", 206, 5, None), ("bytes=0-1,5-6", 200, 0, None)],
)  # fmt: skip
async def test_a_part_is_downloaded_whole_or_a_range_of_it(
    client: AsyncClient, key: str, content: bytes, asked: str | None, status: int, first: int, stop: int | None
) -> None:
    answer = await client.get(f"{PARTS}/{key}/artifact", headers={"range": asked} if asked else {})
    assert (answer.status_code, answer.content) == (status, content[first:stop])
    assert answer.headers["content-length"] == str(len(content[first:stop]))
    assert answer.headers["etag"] == f'"sha256:{hashlib.sha256(content).hexdigest()}"'
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="iris-1-{key}.onnx"')


@pytest.mark.usefixtures("inspected")
async def test_a_download_of_a_part_knows_its_etag_and_where_the_file_ends(client: AsyncClient) -> None:
    head = await client.head(f"{PARTS}/de/artifact")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(ONNX)))
    again = {"if-none-match": head.headers["etag"]}
    assert (await client.get(f"{PARTS}/de/artifact", headers=again)).status_code == 304
    beyond = await client.get(f"{PARTS}/de/artifact", headers={"range": f"bytes={len(ONNX)}-"})
    is_problem(beyond, 416, "range_not_satisfiable")
    assert beyond.headers["content-range"] == f"bytes */{len(ONNX)}"
    whole = await client.get(f"{VERSIONS}/1/artifact")
    assert whole.content == ARCHIVE
    assert 'filename="iris-1.zip"' in whole.headers["content-disposition"]


@pytest.mark.usefixtures("inspected")
async def test_an_unknown_key_is_a_404_that_names_the_known_ones(client: AsyncClient) -> None:
    for path in (f"{PARTS}/es", f"{PARTS}/es/artifact"):
        problem = is_problem(await client.get(path), 404, "not_found")
        assert "has no part 'es'; its parts: de, fr" in str(problem["detail"])
    tried = await client.post(f"{PARTS}/es:test", json={"inputs": {"x": 1}})
    assert "its parts: de, fr" in str(is_problem(tried, 404, "not_found")["detail"])


async def test_a_version_of_one_model_has_no_parts(client: AsyncClient) -> None:
    await upload(client)
    assert (await client.get(PARTS)).json() == {"items": []}
    assert (await client.get(f"{VERSIONS}/1")).json()["parts"] is None
    assert "is one model without parts" in str(is_problem(await client.get(f"{PARTS}/de"), 404, "not_found")["detail"])


@pytest.mark.usefixtures("inspected")
async def test_another_tenant_finds_none_of_it(client: AsyncClient, context: Context) -> None:
    other = await add_user(context, "other", "olga")
    for path in (PARTS, f"{PARTS}/de", f"{PARTS}/de/artifact"):
        is_problem(await client.get(path, headers=other), 404, "not_found")


@pytest.mark.usefixtures("inspected")
async def test_a_test_of_a_part_says_which(client: AsyncClient) -> None:
    asynchronous = {"prefer": "respond-async"}
    answer = await client.post(f"{PARTS}/de:test", json={"inputs": {"x": 1}}, headers=asynchronous)
    assert (answer.status_code, answer.json()["kind"]) == (202, "version.test")


@pytest.mark.usefixtures("inspected")
async def test_a_durable_prediction_may_ask_one_part(client: AsyncClient, context: Context) -> None:
    await running_service(client, context)
    predictions = "/api/v1/services/iris/predictions"
    for url, extra in ((predictions, {}), ("/api/v1/predictions", {"version": "iris"})):
        answer = await client.post(url, json={"inputs": {"x": 1}, "part": "de", **extra})
        assert answer.status_code == 202, answer.text
        assert PredictionShown.model_validate(answer.json()).part == "de"
        assert (await client.get(f"/api/v1/predictions/{answer.json()['id']}")).json()["part"] == "de"
    assert (await client.post(predictions, json={"inputs": {"x": 1}})).json()["part"] is None


@pytest.mark.usefixtures("inspected")
async def test_the_query_may_name_the_part_of_any_body(client: AsyncClient, context: Context) -> None:
    await running_service(client, context)
    predictions = "/api/v1/services/iris/predictions"
    rows: dict[str, Any] = {"content": b"x\n1\n", "headers": {"content-type": "text/csv"}}
    sent = [
        await client.post(f"{predictions}?part=fr", **rows),
        await client.put(f"{predictions}/prd_mine?part=fr", **rows),
        await client.post("/api/v1/deployments/me/iris/predictions?part=fr", json={"inputs": {"x": 1}}),
        await client.post("/api/v1/predictions?part=fr", json={"inputs": {"x": 1}, "version": "iris"}),
        await client.post(f"{predictions}?part=fr", json={"inputs": {"x": 1}, "part": "fr"}),
    ]
    assert [answer.json().get("part") for answer in sent] == ["fr"] * 5
    is_problem(await client.put(f"{predictions}/prd_mine?part=de", **rows), 409, "id_taken")
    for url, more in ((f"{predictions}?part=es", rows), (f"{predictions}?part=fr", {"json": {"part": "de", **BODY}})):
        problem = is_problem(await client.post(url, **more), 422, "invalid_field")
        assert [error["pointer"] for error in problem["errors"]] == ["/part"]  # type: ignore[attr-defined]  # a problem has them


@pytest.mark.usefixtures("inspected")
async def test_a_part_waits_until_every_process_knows_parts(client: AsyncClient, context: Context) -> None:
    await running_service(client, context)
    predictions = "/api/v1/services/iris/predictions"
    async with older_process(context):
        is_problem(await client.post(predictions, json={**BODY, "part": "de"}), 503, "upgrade_under_way")
        assert (await client.post(predictions, json=BODY)).status_code == 202
    assert (await client.post(predictions, json={**BODY, "part": "de"})).status_code == 202


async def test_an_archive_waits_until_every_process_knows_parts(client: AsyncClient, context: Context) -> None:
    async with older_process(context):
        refused = await client.post(VERSIONS, content=ARCHIVE, headers=OCTETS)
        problem = is_problem(refused, 503, "upgrade_under_way")
        assert str(problem["detail"]).startswith("a version of several models must wait")
        assert refused.headers["retry-after"] == "10"
        form = {"data": {"name": "wine"}, "files": {"file": ("models.zip", ARCHIVE)}}
        is_problem(await client.post("/api/v1/models", **form), 503, "upgrade_under_way")  # type: ignore[arg-type]  # by name
        source = {"source_uri": "https://example.com/models.zip", "type": "parts"}
        is_problem(await client.post(VERSIONS, json=source), 503, "upgrade_under_way")
        assert await left_behind(context) == []
        assert (await client.get("/api/v1/models")).json()["items"] == []
        await upload(client)
    await upload(client, content=ARCHIVE)


@pytest.mark.usefixtures("inspected")
async def test_a_service_of_parts_waits_until_every_process_knows_them(client: AsyncClient, context: Context) -> None:
    await ready_version(client, context)  # version 2, of one model
    services = "/api/v1/services"
    async with older_process(context):
        for version, status in (("1", 503), ("2", 202)):
            wish = {"name": "iris", "model": "iris", "version": version}
            assert (await client.post(services, json=wish)).status_code == status
        await work_on(context, is_running)
        refused = await client.patch(f"{services}/iris", json={"version": "1"})
        is_problem(refused, 503, "upgrade_under_way")
        shown = (await client.get(f"{services}/iris")).json()
        assert (shown["status"], shown["generation"]) == ("running", 1)
    assert (await client.patch(f"{services}/iris", json={"version": "1"})).status_code == 202


@pytest.mark.usefixtures("inspected")
async def test_a_part_that_the_service_has_not_is_refused_with_those_it_has(
    client: AsyncClient, context: Context
) -> None:
    await running_service(client, context)
    answer = await client.post("/api/v1/services/iris/predictions", json={"inputs": {"x": 1}, "part": "es"})
    problem = is_problem(answer, 422, "invalid_field")
    assert [error["pointer"] for error in problem["errors"]] == ["/part"]  # type: ignore[attr-defined]  # a problem has them
    assert "its parts: de, fr" in str(problem["detail"])
