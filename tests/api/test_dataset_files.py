"""Datasets of files: put, listed page by page, read, replaced and deleted, each under its path."""

import io
import zipfile
from urllib.parse import quote

import pytest
from httpx2 import AsyncClient, Response
from sqlalchemy import insert

from api.dependencies import Context
from state.datasets import hold_dataset
from state.datatables import DatasetFile
from state.queries.datasets import AT_ONCE, all_files
from state.sweeping import doom
from tests.api.catalogue import left_behind
from tests.api.platform import LOCAL, add_user, is_problem
from tests.api.test_datasets import add_run, ready

V1 = "/api/v1"
AT = f"{V1}/datasets/pictures/files"


@pytest.fixture
async def pictures(client: AsyncClient) -> AsyncClient:
    """A client of a platform with an empty dataset of files."""
    answer = await client.post(f"{V1}/datasets", json={"name": "pictures", "kind": "files"})
    assert (answer.status_code, answer.json()["status"], answer.json()["files"]) == (201, "ready", 0), answer.text
    return client


async def put(client: AsyncClient, path: str, content: bytes, kind: str = "image/png") -> Response:
    return await client.put(f"{AT}/{quote(path)}", content=content, headers={"content-type": kind})


async def test_a_file_is_put_read_replaced_and_deleted(pictures: AsyncClient, context: Context) -> None:
    shown = (await put(pictures, "cats/größe 1.png", b"one")).json()
    assert (shown["path"], shown["size_bytes"], shown["content_type"]) == ("cats/größe 1.png", 3, "image/png")
    read = await pictures.get(shown["url"])
    assert (read.content, read.headers["content-type"]) == (b"one", "image/png")
    assert (await pictures.get(shown["url"], headers={"range": "bytes=1-1"})).content == b"n"
    await put(pictures, "cats/größe 1.png", b"other")
    await put(pictures, "dogs/1.png", b"dog")
    dataset = (await pictures.get(f"{V1}/datasets/pictures")).json()
    assert (dataset["files"], dataset["size_bytes"]) == (2, 8)
    assert (await pictures.delete(shown["url"])).status_code == 204
    is_problem(await pictures.get(shown["url"]), 404, "not_found")
    dataset = (await pictures.get(f"{V1}/datasets/pictures")).json()
    assert (dataset["files"], dataset["size_bytes"]) == (1, 3)
    async with context.database.write() as session:
        assert await doom(session, 2**62) == 2


async def test_no_file_is_a_folder_too(pictures: AsyncClient) -> None:
    for name in ("a/b/c", "a_/x", "A/b"):
        assert (await put(pictures, name, b"")).status_code == 200, name
    for name in ("a", "a/b", "a/b/c/d"):
        problem = is_problem(await put(pictures, name, b""), 409, "path_taken")
        assert "'a/b/c'" in str(problem["detail"])
    assert (await put(pictures, "a/b/c", b"again")).status_code == 200
    assert (await pictures.delete(f"{AT}/a/b/c")).status_code == 204
    assert (await put(pictures, "a", b"")).status_code == 200


async def test_a_prefix_is_taken_letter_by_letter(pictures: AsyncClient) -> None:
    for name in ("A/1", "a/1", "a_1", "ab1", "ä1"):
        await put(pictures, name, b"")
    for prefix, expected in (("a", ["a/1", "a_1", "ab1"]), ("A", ["A/1"]), ("a_", ["a_1"]), ("ä", ["ä1"])):
        found = (await pictures.get(f"{AT}?prefix={quote(prefix)}")).json()["items"]
        assert [each["path"] for each in found] == expected


async def test_files_are_listed_by_their_paths_page_by_page(pictures: AsyncClient) -> None:
    for name in ("b/2", "a", "b/1", "b%1", "c"):
        await put(pictures, name, name.encode())
    seen, query = [], "?page_size=2"
    while True:
        page = (await pictures.get(AT + query)).json()
        seen += [each["path"] for each in page["items"]]
        if page["next_page_token"] is None:
            break
        query = f"?page_size=2&page_token={page['next_page_token']}"
    assert seen == ["a", "b%1", "b/1", "b/2", "c"]
    found = (await pictures.get(f"{AT}?prefix=b/&page_size=1")).json()
    assert [each["path"] for each in found["items"]] == ["b/1"]
    token = found["next_page_token"]
    is_problem(await pictures.get(f"{AT}?page_token={token}"), 422, "invalid_field")
    for wrong in ("x", "YQ", "W10"):
        is_problem(await pictures.get(f"{AT}?page_token={wrong}"), 422, "invalid_field")


@pytest.mark.parametrize("path", ["a//b", "a%2F..", "a%2F.", "a%5Cb", "a%0Ab", "x" * 501, "a%2F..%2Fb", "a/"])
async def test_what_is_no_path_is_refused(pictures: AsyncClient, context: Context, path: str) -> None:
    answer = await pictures.put(f"{AT}/{path}", content=b"x")
    assert answer.status_code in (404, 422), (answer.status_code, answer.text)
    assert await left_behind(context) == []
    assert (await pictures.get(AT)).json()["items"] == []


async def test_a_table_has_no_files_and_files_have_no_columns(client: AsyncClient, context: Context) -> None:
    await ready(client, context)
    answer = await client.put(f"{V1}/datasets/people/files/a", content=b"x")
    is_problem(answer, 409, "no_files")
    is_problem(await client.get(f"{V1}/datasets/people/files"), 409, "no_files")
    await client.post(f"{V1}/datasets", json={"name": "pictures", "kind": "files"})
    is_problem(await client.get(f"{V1}/datasets/pictures/columns"), 404, "not_found")


async def test_all_files_come_in_an_archive_under_their_paths(pictures: AsyncClient) -> None:
    for name in ("cats/größe 1.png", "a:b", "c"):
        await put(pictures, name, name.encode())
    assert (await pictures.get(f"{AT}/{quote('a:b')}")).content == b"a:b"
    whole = await pictures.get(f"{V1}/datasets/pictures/content")
    assert int(whole.headers["content-length"]) == len(whole.content)
    with zipfile.ZipFile(io.BytesIO(whole.content)) as archive:
        assert archive.testzip() is None
        assert {each.filename: archive.read(each).decode() for each in archive.infolist()} == {
            name: name for name in ("cats/größe 1.png", "a:b", "c")
        }


async def test_very_many_files_are_read_page_by_page_each_once(pictures: AsyncClient, context: Context) -> None:
    dataset = (await put(pictures, "a", b"x")).json()
    names = [f"{number:05}" for number in range(2 * AT_ONCE + 1)]
    async with context.database.write() as session:
        found = await hold_dataset(session, LOCAL, "pictures")
        same = {"dataset_id": found.id, "digest": dataset["digest"], "size_bytes": 1, "content_type": "x/y"}
        await session.execute(insert(DatasetFile), [{**same, "path": name, "created_at": 1} for name in names])
    for most, expected in ((10**6, [*names, "a"]), (AT_ONCE + 1, names[: AT_ONCE + 1]), (1, names[:1])):
        async with context.database.read() as session:
            assert [each.path for each in await all_files(session, found.id, most)] == expected


async def test_files_stay_while_a_run_reads_them(pictures: AsyncClient, context: Context) -> None:
    await put(pictures, "a", b"x")
    dataset = (await pictures.get(f"{V1}/datasets/pictures")).json()["id"]
    await add_run(context, dataset)
    is_problem(await put(pictures, "a", b"y"), 409, "in_use")
    is_problem(await pictures.delete(f"{AT}/a"), 409, "in_use")
    assert (await pictures.get(f"{AT}/a")).content == b"x"


async def test_a_copy_has_its_own_files(pictures: AsyncClient) -> None:
    await put(pictures, "a", b"x")
    body = {"name": "copy", "kind": "files", "dataset": "pictures"}
    copy = await pictures.post(f"{V1}/datasets", json=body)
    assert (copy.status_code, copy.json()["files"]) == (201, 1), copy.text
    assert (await pictures.delete(f"{V1}/datasets/pictures")).status_code == 204
    assert (await pictures.get(f"{V1}/datasets/copy/files/a")).content == b"x"


async def test_another_tenants_files_are_nowhere(pictures: AsyncClient, context: Context) -> None:
    await put(pictures, "a", b"x")
    other = await add_user(context, "acme", "ann")
    for answer in (
        await pictures.get(AT, headers=other),
        await pictures.get(f"{AT}/a", headers=other),
        await pictures.put(f"{AT}/a", content=b"y", headers=other),
        await pictures.delete(f"{AT}/a", headers=other),
    ):
        is_problem(answer, 404, "not_found")
