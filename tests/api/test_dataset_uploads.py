"""Uploads in parts, in any order, again, at once and broken off; and the datasets that are made of them."""

import asyncio
import base64
import hashlib

import pytest
from httpx2 import AsyncClient

from api.dependencies import Context
from state.datasets import hold_dataset
from state.queries.datasets import pieces_of
from state.sweeping import doom, forget_uploads
from tests.api.catalogue import left_behind
from tests.api.platform import LOCAL, add_user, is_problem

V1 = "/api/v1"
OCTETS = {"content-type": "application/octet-stream"}


async def begun(client: AsyncClient, **said: object) -> str:
    answer = await client.post(f"{V1}/uploads", json=said)
    assert answer.status_code == 201, answer.text
    upload: str = answer.json()["id"]
    assert upload.startswith("upl_")
    return upload


async def put(client: AsyncClient, upload: str, number: int, content: bytes) -> None:
    answer = await client.put(f"{V1}/uploads/{upload}/parts/{number}", content=content, headers=OCTETS)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "number": number,
        "size_bytes": len(content),
        "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
    }


async def test_parts_in_any_order_become_a_dataset(client: AsyncClient, context: Context) -> None:
    upload = await begun(client, filename="a/people.csv", size_bytes=9)
    await asyncio.gather(*(put(client, upload, n, c) for n, c in ((3, b"ghi"), (1, b"xxx"), (2, b"def"))))
    await put(client, upload, 1, b"abc")
    shown = (await client.get(f"{V1}/uploads/{upload}")).json()
    assert ([part["number"] for part in shown["parts"]], shown["received_bytes"]) == ([1, 2, 3], 9)
    assert shown["filename"] == "people.csv"
    answer = await client.post(f"{V1}/datasets", json={"name": "people", "upload": upload})
    assert answer.status_code == 202, answer.text
    is_problem(await client.get(f"{V1}/uploads/{upload}"), 404, "not_found")
    async with context.database.write() as session:
        row = await hold_dataset(session, LOCAL, "people")
        assert (row.upload_id, row.filename, row.size_bytes) == (upload, "people.csv", 9)
        assert [piece.size_bytes for piece in await pieces_of(session, row.id)] == [3, 3, 3]
        assert await doom(session, 2**62) == 1, "the part that was sent again"
    is_problem(await client.get(f"{V1}/datasets/people/content"), 409, "dataset_not_ready")


async def test_an_upload_is_used_once(client: AsyncClient) -> None:
    upload = await begun(client)
    await put(client, upload, 1, b"abc")
    answers = await asyncio.gather(
        *(client.post(f"{V1}/datasets", json={"name": name, "upload": upload}) for name in ("one", "two"))
    )
    assert sorted(answer.status_code for answer in answers) == [202, 404]
    lost = next(answer for answer in answers if answer.status_code == 404)
    assert lost.json()["errors"][0]["pointer"] == "/upload"


async def test_what_is_missing_is_named_and_nothing_is_lost(client: AsyncClient) -> None:
    upload = await begun(client, size_bytes=10)
    is_problem(await client.post(f"{V1}/datasets", json={"name": "a", "upload": upload}), 409, "incomplete_upload")
    await put(client, upload, 3, b"abc")
    problem = is_problem(
        await client.post(f"{V1}/datasets", json={"name": "a", "upload": upload}), 409, "incomplete_upload"
    )
    assert "no part 1, 2" in str(problem["detail"])
    for number in (1, 2):
        await put(client, upload, number, b"de")
    problem = is_problem(
        await client.post(f"{V1}/datasets", json={"name": "a", "upload": upload}), 409, "incomplete_upload"
    )
    assert "7 bytes" in str(problem["detail"])
    assert len((await client.get(f"{V1}/uploads/{upload}")).json()["parts"]) == 3


@pytest.mark.parametrize(
    ("digest", "status", "code"),
    [
        (f"sha-256=:{base64.b64encode(hashlib.sha256(b'abc').digest()).decode()}:", 200, None),
        (f"md5=:AAAA:, sha-256=:{base64.b64encode(hashlib.sha256(b'abc').digest()).decode()}:", 200, None),
        ("md5=:AAAA:", 200, None),
        (f"sha-256=:{base64.b64encode(hashlib.sha256(b'abd').digest()).decode()}:", 422, "digest_mismatch"),
        ("sha-256=:AAAA:", 422, "invalid_field"),
        ("sha-256=abc", 422, "invalid_field"),
    ],
)
async def test_a_digest_is_held_against_the_bytes(
    client: AsyncClient, context: Context, digest: str, status: int, code: str | None
) -> None:
    upload = await begun(client)
    sent = {**OCTETS, "content-digest": digest}
    answer = await client.put(f"{V1}/uploads/{upload}/parts/1", content=b"abc", headers=sent)
    assert answer.status_code == status, answer.text
    assert code is None or (answer.json()["code"], await left_behind(context)) == (code, [])


@pytest.mark.parametrize("number", ["0", "10001", "-1", "x"])
async def test_a_part_has_a_number(client: AsyncClient, number: str) -> None:
    upload = await begun(client)
    answer = await client.put(f"{V1}/uploads/{upload}/parts/{number}", content=b"abc", headers=OCTETS)
    assert answer.status_code == 422


async def test_what_is_given_up_is_gone_and_what_is_forgotten_goes_with_time(
    client: AsyncClient, context: Context
) -> None:
    first, second = await begun(client), await begun(client)
    for upload in (first, second):
        await put(client, upload, 1, b"abc")
    assert (await client.delete(f"{V1}/uploads/{first}")).status_code == 204
    assert [each["id"] for each in (await client.get(f"{V1}/uploads")).json()["items"]] == [second]
    async with context.database.write() as session:
        assert await forget_uploads(session, 0, 10) == 0
        assert await forget_uploads(session, 2**62, 10) == 1
        assert await doom(session, 2**62) == 1
    is_problem(await client.get(f"{V1}/uploads/{second}"), 404, "not_found")


async def test_nobody_else_comes_near_an_upload(client: AsyncClient, context: Context) -> None:
    upload = await begun(client)
    other = await add_user(context, "acme", "ann")
    is_problem(await client.get(f"{V1}/uploads/{upload}", headers=other), 404, "not_found")
    sent = await client.put(f"{V1}/uploads/{upload}/parts/1", content=b"a", headers={**OCTETS, **other})
    is_problem(sent, 404, "not_found")
    await put(client, upload, 1, b"abc")
    taken = await client.post(f"{V1}/datasets", json={"name": "mine", "upload": upload}, headers=other)
    is_problem(taken, 404, "not_found")


async def test_a_dataset_larger_than_allowed_is_refused_at_once(client: AsyncClient) -> None:
    is_problem(await client.post(f"{V1}/uploads", json={"size_bytes": 2**50}), 422, "invalid_field")
