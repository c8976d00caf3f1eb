"""Files: uploaded as a form, listed, read by range, deleted; whatever is wrong is told and leaves nothing behind."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from httpx2 import ASGITransport, AsyncClient

from api.app import build_app
from api.dependencies import Context
from api.schemas.files import FilePage, FileShown
from core.clock import from_rfc3339, to_micros
from tests.api.catalogue import left_behind, ready_version, running_service
from tests.api.platform import add_user, is_problem

FILES = "/api/v1/files"
TEXT = "Grüße, 世界".encode()
BOUNDARY = {"content-type": "multipart/form-data; boundary=b"}


async def put(client: AsyncClient, content: bytes = TEXT, name: str = "a.txt", kind: str = "text/plain") -> FileShown:
    """An upload that is accepted."""
    answer = await client.post(FILES, files={"content": (name, content, kind)})
    assert answer.status_code == 201, answer.text
    return FileShown.model_validate(answer.json())


def by_hand(disposition: str, content: bytes = TEXT, end: bytes = b"\r\n--b--\r\n") -> bytes:
    """A form with one part."""
    return b"--b\r\nContent-Disposition: form-data; " + disposition.encode() + b"\r\n\r\n" + content + end


async def test_a_file_is_kept_and_shown_in_replicates_words(client: AsyncClient, context: Context) -> None:
    form = {"content": ("a.txt", TEXT, "text/plain; charset=utf-8")}
    answer = await client.post(FILES, files=form, data={"metadata": '{"für": [1, "é"]}'})
    shown = FileShown.model_validate(answer.json())
    sha256 = hashlib.sha256(TEXT).hexdigest()
    assert (answer.status_code, shown.name, shown.content_type) == (201, "a.txt", "text/plain")
    assert (shown.size, shown.checksums, shown.metadata) == (len(TEXT), {"sha256": sha256}, {"für": [1, "é"]})
    assert answer.headers["location"] == shown.urls["get"] == f"http://localhost:8000{FILES}/{shown.id}"
    assert answer.headers["etag"] == shown.etag == f'"sha256:{sha256}"'
    kept = from_rfc3339(shown.expires_at) - from_rfc3339(shown.created_at)
    assert kept == to_micros(timedelta(hours=context.settings.file_hours))
    assert (await client.get(shown.urls["get"])).json() == answer.json()
    assert (await client.get(shown.urls["get"], headers={"if-none-match": shown.etag})).status_code == 304
    operation = (await client.get(answer.headers["operation-location"])).json()
    assert (operation["kind"], operation["status"]) == ("file.create", "succeeded")
    assert operation["target"]["url"] == shown.urls["get"]


async def test_the_bytes_come_back_whole_and_in_part_and_never_as_a_page(client: AsyncClient) -> None:
    page = b"<script>alert(1)</script>"
    shown = await put(client, page, "a.html", "text/html")
    whole = await client.get(shown.urls["content"])
    assert (whole.content, whole.headers["content-type"].partition(";")[0]) == (page, "text/html")
    assert whole.headers["content-disposition"].startswith("attachment;")
    assert whole.headers["x-content-type-options"] == "nosniff"
    part = await client.get(shown.urls["content"], headers={"range": "bytes=1-6"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"script", "bytes 1-6/25")
    assert (await client.get(shown.urls["content"], headers={"if-none-match": shown.etag})).status_code == 304
    behind = await client.get(shown.urls["content"], headers={"range": "bytes=25-"})
    is_problem(behind, 416, "range_not_satisfiable")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("слон 象 🐘.txt", "слон 象 🐘.txt"),
        ("C:\\fake\\path.csv", "path.csv"),
        ("../../etc/passwd", "passwd"),
        ("a\tb.txt", "ab.txt"),
        ("x" * 300, "x" * 200),
        ("..", ".."),
    ],
)
async def test_a_name_of_any_script_is_kept_and_never_becomes_a_path(
    client: AsyncClient, given: str, kept: str
) -> None:
    body = by_hand(f'name="content"; filename="{given}"')
    answer = await client.post(FILES, content=body, headers=BOUNDARY)
    assert (answer.status_code, answer.json()["name"]) == (201, kept)
    assert answer.json()["content_type"] == "application/octet-stream"
    assert (await client.get(answer.json()["urls"]["content"])).content == TEXT


@pytest.mark.parametrize("disposition", ['name="content"; filename=""', 'name="content"'])
async def test_a_file_may_be_empty_and_without_a_name(client: AsyncClient, disposition: str) -> None:
    answer = await client.post(FILES, content=by_hand(disposition, b""), headers=BOUNDARY)
    assert (answer.status_code, answer.json()["name"], answer.json()["size"]) == (201, "file", 0)
    assert (await client.get(answer.json()["urls"]["content"])).content == b""


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Image/PNG", "image/png"),
        ("text/html\r\nX-Other: 1", "text/html"),
        ("text/" + "x" * 100, f"text/{'x' * 60}"),
        ("nonsense", "application/octet-stream"),
        ("téxt/plain", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
async def test_only_what_can_be_a_type_is_kept_as_one(client: AsyncClient, given: str, kept: str) -> None:
    head = f"--b\r\nContent-Disposition: form-data; name=content\r\nContent-Type: {given}\r\n\r\nx\r\n--b--\r\n"
    answer = await client.post(FILES, content=head.encode(), headers=BOUNDARY)
    assert (answer.status_code, answer.json()["content_type"]) == (201, kept)
    assert (await client.get(answer.json()["urls"]["content"])).headers["content-type"].partition(";")[0] == kept


BAD = {
    "no form": (b"{}", {"content-type": "application/json"}, 415, "unsupported_media_type"),
    "no file": (by_hand('name="metadata"', b"{}"), BOUNDARY, 422, "invalid_field"),
    "another part": (by_hand('name="file"; filename="a"'), BOUNDARY, 422, "unknown_field"),
    "cut off": (by_hand('name="content"', end=b""), BOUNDARY, 400, "incomplete_body"),
    "no boundary": (b"", {"content-type": "multipart/form-data"}, 400, "malformed_body"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_wrong_form_is_refused_and_leaves_nothing(client: AsyncClient, context: Context, name: str) -> None:
    content, headers, status, code = BAD[name]
    is_problem(await client.post(FILES, content=content, headers=headers), status, code)
    assert await left_behind(context) == []


@pytest.mark.parametrize(
    "metadata", ["[1]", "{", '"text"', '{"x": NaN}', '{"x": "' + "y" * 17_000 + '"}', '{"x": "\\u0000"}']
)
async def test_metadata_are_a_small_json_object(client: AsyncClient, context: Context, metadata: str) -> None:
    answer = await client.post(FILES, files={"content": ("a", TEXT)}, data={"metadata": metadata})
    problem = is_problem(answer, 422, "invalid_field")
    assert "/metadata" in str(problem["errors"])
    assert await left_behind(context) == []


@pytest.fixture
async def limited(context: Context) -> AsyncIterator[AsyncClient]:
    """A client of an app that takes 1,000 bytes at most."""
    small = replace(context, settings=context.settings.model_copy(update={"max_upload_bytes": 1000}))
    async with AsyncClient(transport=ASGITransport(build_app(small)), base_url="http://localhost:8000") as opened:
        yield opened


async def test_what_is_too_large_is_refused_before_it_is_kept(limited: AsyncClient, context: Context) -> None:
    problem = is_problem(await limited.post(FILES, files={"content": ("a", bytes(1001))}), 413, "too_large")
    assert problem["limit_bytes"] == 1000
    announced = {**BOUNDARY, "content-length": "9999999999"}
    problem = is_problem(
        await limited.post(FILES, content=by_hand('name="content"'), headers=announced), 413, "too_large"
    )
    assert "/content" in str(problem["errors"])
    assert await left_behind(context) == []
    assert (await put(limited, bytes(1000))).size == 1000


async def test_files_are_listed_forwards_and_back(client: AsyncClient) -> None:
    made = [(await put(client, name=f"{number}.txt")).id for number in range(3)]
    first = FilePage.model_validate((await client.get(f"{FILES}?page_size=2&count=true")).json())
    assert ([row.id for row in first.results], first.previous, first.total) == (made[:0:-1], None, 3)
    assert first.next is not None
    second = FilePage.model_validate((await client.get(first.next)).json())
    assert ([row.id for row in second.results], second.next) == (made[:1], None)
    assert second.previous is not None
    assert FilePage.model_validate((await client.get(second.previous)).json()) == first
    assert [row["id"] for row in (await client.get(f"{FILES}?name=1.txt")).json()["results"]] == made[1:2]


async def test_a_deleted_file_is_gone_and_its_twin_keeps_the_bytes(client: AsyncClient) -> None:
    one, twin = await put(client), await put(client)
    assert one.etag == twin.etag
    is_problem(await client.delete(one.urls["get"], headers={"if-match": '"other"'}), 412, "stale_etag")
    gone = await client.delete(one.urls["get"], headers={"if-match": one.etag})
    assert (gone.status_code, "operation-location" in gone.headers) == (204, True)
    for url in one.urls.values():
        is_problem(await client.get(url), 404, "not_found")
    is_problem(await client.delete(one.urls["get"]), 404, "not_found")
    assert (await client.get(twin.urls["content"])).content == TEXT


async def test_a_file_is_its_tenants_own(client: AsyncClient, context: Context) -> None:
    shown, other = await put(client), await add_user(context, "acme", "eve")
    for url in shown.urls.values():
        is_problem(await client.get(url, headers=other), 404, "not_found")
    is_problem(await client.delete(shown.urls["get"], headers=other), 404, "not_found")
    assert (await client.get(FILES, headers=other)).json()["results"] == []


async def test_the_same_key_keeps_one_file_and_another_name_is_another_request(client: AsyncClient) -> None:
    key = {"idempotency-key": "k"}
    first, second = [await client.post(FILES, files={"content": ("a.txt", TEXT)}, headers=key) for _ in range(2)]
    assert (second.json(), second.headers["idempotent-replayed"]) == (first.json(), "true")
    other = await client.post(FILES, files={"content": ("b.txt", TEXT)}, headers=key)
    is_problem(other, 422, "idempotency_key_reused")


async def test_an_input_may_only_name_a_file_that_is_here(client: AsyncClient, context: Context) -> None:
    await ready_version(client, context)
    await running_service(client, context)
    shown = await put(client)
    record = {"x": {"$file": shown.id}}
    accepted = await client.post("/api/v1/services/iris/predictions", json={"inputs": record})
    assert accepted.status_code == 202, accepted.text
    for path, body, pointer in (
        ("/api/v1/services/iris/predictions", {"inputs": [record, {"x": {"$file": "file_0"}}]}, "/inputs/1/x"),
        ("/api/v1/models/iris/versions/1:test", {"tensors": {"a/b": {"$file": "file_0"}}}, "/tensors/a~1b"),
    ):
        answer = await client.post(path, json=body)
        is_problem(answer, 422, "invalid_field")
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_another_tenants_file_is_not_here(client: AsyncClient, context: Context) -> None:
    await ready_version(client, context)
    await running_service(client, context)
    stranger = await add_user(context, "acme", "eve")
    form = {"content": ("a.txt", TEXT, "text/plain")}
    theirs = FileShown.model_validate((await client.post(FILES, files=form, headers=stranger)).json())
    answer = await client.post("/api/v1/services/iris/predictions", json={"inputs": {"x": {"$file": theirs.id}}})
    is_problem(answer, 422, "invalid_field")


async def test_an_input_may_not_name_files_without_end(client: AsyncClient, context: Context) -> None:
    await ready_version(client, context)
    await running_service(client, context)
    body = {"inputs": [{"x": {"$file": f"file_{number}"}} for number in range(1_001)]}
    problem = is_problem(await client.post("/api/v1/services/iris/predictions", json=body), 422, "invalid_field")
    assert "/inputs/1000/x" in str(problem["errors"])


async def test_files_under_long_names_that_begin_alike_are_all_looked_for(
    client: AsyncClient, context: Context
) -> None:
    await ready_version(client, context)
    await running_service(client, context)
    shown = await put(client)
    record = {"x" * 100 + "1": {"$file": "file_0"}, "x" * 100 + "2": {"$file": shown.id}}
    answer = await client.post("/api/v1/services/iris/predictions", json={"inputs": record})
    is_problem(answer, 422, "invalid_field")
