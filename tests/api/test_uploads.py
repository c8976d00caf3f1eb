"""Uploads: streamed, bounded, hashed; whatever is wrong is told with its field and leaves nothing behind."""

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import uvicorn
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient

from api.app import build_app
from api.dependencies import Context
from state.queries.lists import View
from state.queries.models import list_models
from storage.base import BATCH_BYTES
from tests.api.catalogue import OCTETS, ONNX, PMML, left_behind
from tests.api.platform import DEADLINE_S, LOCAL, is_problem, until

VERSIONS = "/api/v1/models/iris/versions"
SMALL_LIMIT = 10_000
PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)


@pytest.fixture
async def limited(context: Context) -> AsyncIterator[AsyncClient]:
    """A client of an app that takes 10,000 bytes at most."""
    small = replace(context, settings=context.settings.model_copy(update={"max_upload_bytes": SMALL_LIMIT}))
    async with AsyncClient(transport=ASGITransport(build_app(small)), base_url="http://localhost:8000") as opened:
        yield opened


@pytest.fixture
async def nothing_left(context: Context) -> AsyncIterator[None]:
    """After the test no byte and no row of it is there."""
    yield
    assert await left_behind(context) == []
    async with context.database.read() as session:
        assert list((await list_models(session, LOCAL.tenant_id, View())).rows) == []


def form(*parts: tuple[str, bytes], end: bytes = b"--b--\r\n") -> bytes:
    """A multipart body made by hand: (the rest of Content-Disposition, content)."""
    made = [b"--b\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + body for head, body in parts]
    return b"\r\n".join([*made, end])


FORM = {"content-type": "multipart/form-data; boundary=b"}
FILE = ('name="file"; filename="m.onnx"', ONNX)


@pytest.mark.parametrize("content", [ONNX, PMML], ids=["onnx", "pmml"])
async def test_a_raw_body_becomes_a_version_that_is_inspected(client: AsyncClient, content: bytes) -> None:
    answer = await client.post(VERSIONS, content=content, headers=OCTETS)
    assert answer.status_code == 202
    operation = answer.json()
    assert operation["kind"] == "version.inspect"
    assert answer.headers["operation-location"].endswith(operation["id"])
    shown = (await client.get(operation["target"]["url"])).json()
    assert shown["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert shown["size_bytes"] == len(content)
    assert shown["status"] == "received"
    assert (await client.get(shown["artifact"])).content == content


async def test_a_form_may_have_its_fields_before_and_after_the_file(client: AsyncClient) -> None:
    body = form(
        ('name="description"', "grüße".encode()),
        FILE,
        ('name="metrics"', b'{"accuracy": 0.97}'),
        ('name="tags"', b"a, b"),
        ('name="task"', b"regression"),
        ('name="type"', b"ONNX"),
    )
    answer = await client.post(VERSIONS, content=body, headers=FORM)
    assert answer.status_code == 202, answer.text
    shown = (await client.get(f"{VERSIONS}/1")).json()
    assert shown["description"] == "grüße"
    assert shown["metrics"] == {"accuracy": 0.97}
    assert shown["tags"] == ["a", "b"]
    assert shown["task"] == "regression"
    assert shown["filename"] == "m.onnx"


async def test_the_name_of_a_file_means_nothing_and_is_no_path(client: AsyncClient) -> None:
    answer = await client.post(VERSIONS, files={"file": ("../../etc/passwd.h5", ONNX)})
    assert answer.status_code == 202
    shown = (await client.get(f"{VERSIONS}/1")).json()
    assert shown["format"] == "onnx"
    assert shown["filename"] == "passwd.h5"


async def test_the_same_bytes_again_are_the_next_version_of_one_blob(client: AsyncClient, context: Context) -> None:
    for _ in range(2):
        await client.post(VERSIONS, content=ONNX, headers=OCTETS)
    items = (await client.get(VERSIONS)).json()["items"]
    assert [item["number"] for item in items] == [2, 1]
    assert len(await left_behind(context)) == 1


@pytest.mark.parametrize("piece_bytes", [1, 7, 64 * 1024 - 1])
async def test_a_form_may_come_in_pieces_of_any_size(client: AsyncClient, piece_bytes: int) -> None:
    body = form(('name="description"', b"x"), FILE)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), piece_bytes):
            yield body[start : start + piece_bytes]

    answer = await client.post(VERSIONS, content=pieces(), headers=FORM)
    assert answer.status_code == 202, answer.text


def head_of_onnx(graph_bytes: int) -> bytes:
    """What comes before a graph of so many bytes."""
    return (
        b"\x08\x08\x3a" + bytes([graph_bytes >> shift & 127 | 128 for shift in (0, 7, 14)]) + bytes([graph_bytes >> 21])
    )


async def test_many_megabytes_stream_through_while_others_are_answered(client: AsyncClient) -> None:
    graph_bytes = 32 * 1024 * 1024
    head = head_of_onnx(graph_bytes)
    piece = b"\x0a" * 65_536

    async def pieces() -> AsyncIterator[bytes]:
        yield head
        for _ in range(graph_bytes // len(piece)):
            yield piece

    sending = asyncio.create_task(client.post(VERSIONS, content=pieces(), headers=OCTETS))
    answered = 0
    while not sending.done():
        assert (await client.get("/api/v1/models")).status_code == 200
        answered += 1
    assert (await sending).status_code == 202
    assert answered > 2
    assert (await client.get(f"{VERSIONS}/1")).json()["size_bytes"] == graph_bytes + len(head)


BAD_BODIES = {
    "an empty file": (b"", OCTETS, 422, "invalid_artifact", "/file"),
    "an empty file in a form": (form(('name="file"; filename="x"', b"")), FORM, 422, "invalid_artifact", "/file"),
    "an image": (PNG, OCTETS, 422, "invalid_artifact", "/file"),
    "an image in a form": (form(('name="file"; filename="x.onnx"', PNG)), FORM, 422, "invalid_artifact", "/file"),
    "a pickle": (b"\x80\x04\x95" + bytes(50), OCTETS, 422, "format_not_served", "/file"),
    "a truncated file": (ONNX[:-100], OCTETS, 422, "invalid_artifact", "/file"),
    "a doctype": (b"<!DOCTYPE PMML><PMML/>", OCTETS, 422, "pmml_doctype", "/file"),
    "a form without a file": (form(('name="name"', b"iris")), FORM, 422, "invalid_field", "/file"),
    "two files": (form(FILE, FILE), FORM, 422, "invalid_field", "/file"),
    "a field twice": (form(FILE, ('name="task"', b""), ('name="task"', b"")), FORM, 422, "invalid_field", "/task"),
    "an unknown field": (form(FILE, ('name="descripton"', b"x")), FORM, 422, "unknown_field", "/descripton"),
    "a form that is cut": (form(FILE, end=b""), FORM, 400, "incomplete_body", "/file"),
    "a form that is cut in the file": (form(FILE)[:500], FORM, 400, "incomplete_body", "/file"),
    "an empty form": (b"", FORM, 400, "incomplete_body", ""),
    "rubbish as a form": (b"rubbish", FORM, 400, "malformed_body", None),
    "no boundary": (b"x", {"content-type": "multipart/form-data"}, 400, "malformed_body", None),
    "a part without a name": (form(('filename="x"', b"x")), FORM, 400, "malformed_body", None),
    "another name than the path": (form(FILE, ('name="name"', b"wine")), FORM, 422, "invalid_field", "/name"),
    "a long title": (form(FILE, ('name="display_name"', b"x" * 201)), FORM, 422, "invalid_field", "/display_name"),
    "an unknown task": (form(FILE, ('name="task"', b"magic")), FORM, 422, "invalid_field", "/task"),
    "another type": (form(FILE, ('name="type"', b"pmml")), FORM, 422, "invalid_field", "/type"),
    "metrics that are no JSON": (form(FILE, ('name="metrics"', b"{")), FORM, 422, "invalid_field", "/metrics"),
    "metrics that are no object": (form(FILE, ('name="metrics"', b"[1]")), FORM, 422, "invalid_field", "/metrics"),
    "endless metrics": (form(FILE, ('name="metrics"', b'{"a": 1e999}')), FORM, 422, "invalid_field", "/metrics"),
    "text that is no UTF-8": (form(FILE, ('name="description"', b"\xff")), FORM, 422, "invalid_field", "/description"),
    "a NUL": (form(FILE, ('name="description"', b"a\x00b")), FORM, 422, "invalid_field", "/description"),
    "a huge field": (form(FILE, ('name="description"', bytes(2_000_000))), FORM, 413, "too_large", "/description"),
    "features": (form(FILE, ('name="features"', b"[]")), FORM, 422, "invalid_field", "/features"),
    "JSON": (b"{}", {"content-type": "application/json"}, 422, "invalid_field", "/source_uri"),
    "a web form": (b"a=b", {"content-type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type", None),
}  # fmt: skip


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("case", BAD_BODIES)
async def test_a_bad_upload_is_refused_with_its_field_and_leaves_nothing(client: AsyncClient, case: str) -> None:
    body, headers, status, code, pointer = BAD_BODIES[case]
    problem = is_problem(await client.post(VERSIONS, content=body, headers=headers), status, code)
    if pointer is not None:
        errors = problem["errors"]
        assert isinstance(errors, list)
        assert [error["pointer"] for error in errors] == [pointer]


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("name", ["../x", "%2e%2e", "Iris", "iris-", "-iris", "é", "a" * 49, "a" * 10_000, "a_b", "1a"])
async def test_a_model_that_cannot_have_this_name_is_not_made(client: AsyncClient, name: str) -> None:
    answer = await client.post(f"/api/v1/models/{name}/versions", content=ONNX, headers=OCTETS)
    assert answer.status_code in (404, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.usefixtures("nothing_left")
async def test_an_announced_length_over_the_limit_is_refused_at_once(limited: AsyncClient) -> None:
    problem = is_problem(await limited.post(VERSIONS, content=ONNX * 2, headers=OCTETS), 413, "too_large")
    assert problem["limit_bytes"] == SMALL_LIMIT


@pytest.mark.usefixtures("nothing_left")
async def test_a_length_that_is_not_announced_is_limited_while_it_streams(limited: AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"\x08\x08\x3a\xff\xff\xff\x7f\x0a"
        while True:
            yield bytes(1000)

    is_problem(await limited.post(VERSIONS, content=endless(), headers=OCTETS), 413, "too_large")
    body = form(('name="file"', ONNX[:100] + bytes(SMALL_LIMIT)))
    assert (await limited.post(VERSIONS, content=body, headers=FORM)).status_code in (413, 422)


@pytest.mark.usefixtures("nothing_left")
async def test_a_new_model_needs_a_name_and_a_free_one(client: AsyncClient) -> None:
    is_problem(await client.post("/api/v1/models", content=form(FILE), headers=FORM), 422, "invalid_field")
    body = form(FILE, ('name="name"', b"../etc"))
    problem = is_problem(await client.post("/api/v1/models", content=body, headers=FORM), 422, "invalid_field")
    assert "/name" in str(problem["errors"])


async def test_a_taken_name_is_told_before_the_bytes_are_kept(client: AsyncClient, context: Context) -> None:
    await client.post("/api/v1/models", json={"name": "iris"})
    body = form(FILE, ('name="name"', b"iris"))
    problem = is_problem(await client.post("/api/v1/models", content=body, headers=FORM), 409, "name_taken")
    assert problem["holder"] == "/api/v1/models/iris"
    assert await left_behind(context) == []


async def test_a_retry_with_another_boundary_is_the_same_upload(client: AsyncClient) -> None:
    key = {"idempotency-key": "first"}
    answers = [
        await client.post(
            VERSIONS,
            content=form(FILE, ('name="description"', b"x")).replace(b"--b", b"--" + boundary),
            headers={"content-type": f"multipart/form-data; boundary={boundary.decode()}", **key},
        )
        for boundary in (b"one", b"two")
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert answers[1].headers["idempotent-replayed"] == "true"
    other = await client.post(VERSIONS, content=form(FILE, ('name="description"', b"y")), headers={**FORM, **key})
    is_problem(other, 422, "idempotency_key_reused")
    assert (await client.get(VERSIONS)).json()["items"][0]["number"] == 1


async def test_a_duplicate_meets_a_conflict_while_the_first_still_streams(client: AsyncClient) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    headers = {**OCTETS, "idempotency-key": "slow"}

    async def slow() -> AsyncIterator[bytes]:
        yield ONNX[:100]
        begun.set()
        await go_on.wait()
        yield ONNX[100:]

    first = asyncio.create_task(client.post(VERSIONS, content=slow(), headers=headers))
    await begun.wait()
    is_problem(await client.post(VERSIONS, content=ONNX, headers=headers), 409, "idempotency_in_progress")
    go_on.set()
    assert (await first).status_code == 202
    replayed = await client.post(VERSIONS, content=ONNX, headers=headers)
    assert replayed.headers["idempotent-replayed"] == "true"


@pytest.fixture
async def port(app: FastAPI) -> AsyncIterator[int]:
    """The app behind a real server, for what only a connection can do."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_level="critical", http="httptools"))
    serving = asyncio.create_task(server.serve())

    async def is_up() -> bool:
        return server.started

    await until(is_up)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


@pytest.mark.usefixtures("nothing_left")
async def test_a_connection_that_is_cut_leaves_nothing(port: int, context: Context) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {VERSIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
    body = head_of_onnx(8 * BATCH_BYTES) + b"\x0a" * 2 * BATCH_BYTES  # more than is kept in memory until it is whole
    writer.write(head.encode() + f"Content-Length: {9 * BATCH_BYTES}\r\n\r\n".encode() + body)
    await writer.drain()

    async def is_receiving() -> bool:
        return len(await left_behind(context)) == 1

    await until(is_receiving)
    writer.close()

    async def is_clean() -> bool:
        return await left_behind(context) == []

    await until(is_clean)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("connection", ["close", "keep-alive"])
async def test_a_client_that_sends_first_and_reads_then_gets_the_problem(port: int, connection: str) -> None:
    size = 8 * 1024 * 1024

    def send_all_then_read() -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as client:
            head = f"POST {VERSIONS} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n"
            client.sendall(
                head.encode() + f"Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n".encode()
            )
            client.sendall(PNG + bytes(size - len(PNG)))
            return client.recv(4000)

    assert b"422 Unprocessable" in await asyncio.to_thread(send_all_then_read)


async def test_a_length_with_thousands_of_zeros_is_a_number_like_any_other(client: AsyncClient) -> None:
    zeros = {**OCTETS, "content-length": "0" * 5000 + str(len(ONNX))}
    assert (await client.post(VERSIONS, content=ONNX, headers=zeros)).status_code == 202
