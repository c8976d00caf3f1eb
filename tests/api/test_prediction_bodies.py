"""Rows and forms as a submission keeps them: what their bytes mean, what is refused, and who must know them."""

from collections.abc import Mapping

import pytest
from httpx2 import AsyncClient, Headers

from api.bodies import Raw
from api.dependencies import Context
from state.processes import Presence, Self
from tests.api.catalogue import add_ready_versions, left_behind, running_service
from tests.api.platform import is_problem

URL = "/api/v1/services/iris/predictions"
TRIAL = "/api/v1/models/iris/versions/1:test"
BODY = {"inputs": {"x": 1}}
ROWS = b"x\n1\n"
CSV = {"content-type": "text/csv"}
ABSENT, PRESENT = (
    {"content-type": f"text/csv; header={header}", "idempotency-key": "k"} for header in ("absent", "present")
)

pytestmark = pytest.mark.usefixtures("service")


@pytest.fixture
async def service(client: AsyncClient, context: Context) -> None:
    """A running service `iris`."""
    await add_ready_versions(context, 1)
    await running_service(client, context)


def form(boundary: str, *values: bytes) -> Raw:
    """A form of fields `x`."""
    line = b"--" + boundary.encode()
    parts = [line + b'\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + value + b"\r\n" for value in values]
    return Raw(b"".join(parts) + line + b"--\r\n", f"multipart/form-data; boundary={boundary}")


def test_a_boundary_is_left_out_of_what_a_form_means_only_where_it_delimits() -> None:
    assert form("a", b"banana").sha256 == form("b", b"banana").sha256
    assert form("a", b"banana").sha256 != form("a", b"bnn").sha256
    assert form("a", b"x\r\n--abc").sha256 != form("a", b"x\r\n--bc").sha256
    joined = b'1\r\n--\r\nContent-Disposition: form-data; name="x"\r\n\r\n2'  # one value that looks like two
    assert form("a", b"1", b"2").sha256 != form("a", joined).sha256
    assert form("a", b"1").sha256 != Raw(form("a", b"1").data, "text/csv; boundary=a").sha256


@pytest.mark.parametrize("url", [URL, TRIAL])
async def test_a_key_belongs_to_what_the_bytes_mean(client: AsyncClient, url: str) -> None:
    no_wait = {"prefer": "respond-async"}
    first = await client.post(url, content=ROWS, headers=ABSENT | no_wait)
    assert first.status_code == 202, first.text
    again = await client.post(url, content=ROWS, headers=ABSENT | no_wait)
    assert (again.json()["id"], again.headers["idempotent-replayed"]) == (first.json()["id"], "true")
    is_problem(await client.post(url, content=ROWS, headers=PRESENT | no_wait), 422, "idempotency_key_reused")


async def test_a_form_is_replayed_whatever_boundary_its_client_drew(client: AsyncClient) -> None:
    answers = [
        await client.post(URL, content=raw.data, headers={"content-type": raw.content_type, "idempotency-key": "k"})
        for raw in (form("abc", b"1"), form("xyz", b"1"), form("abc", b"2"))
    ]
    assert answers[1].json()["id"] == answers[0].json()["id"]
    is_problem(answers[2], 422, "idempotency_key_reused")


@pytest.mark.parametrize("url", [URL, TRIAL, f"{URL}/prd_mine"])
@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": b"text/csv; charset=\xe9"},
        {"content-type": b"text/csv; header=absent; header*=utf-8''x"},
        {"content-type": b"application/json", "content-encoding": b"gzip"},
        {"content-type": b"text/csv", "content-encoding": b"identity, br"},
        {"content-type": b"text/csv; a=" + b"x" * 5000},
    ],
)
async def test_what_cannot_be_sent_on_as_it_came_is_refused(
    client: AsyncClient, context: Context, url: str, headers: Mapping[str, bytes]
) -> None:
    answer = await client.request(
        "PUT" if "prd_" in url else "POST",
        url,
        content=ROWS,
        headers=Headers([(name.encode(), value) for name, value in headers.items()]),
    )
    is_problem(answer, 415, "unsupported_media_type")
    assert await left_behind(context) == []


async def test_a_body_that_says_it_is_plain_is_taken(client: AsyncClient) -> None:
    assert (await client.post(URL, content=ROWS, headers={**CSV, "content-encoding": "Identity"})).status_code == 202


@pytest.mark.parametrize("own_id", ["", "/prd_mine"])
async def test_rows_wait_until_every_process_knows_them(client: AsyncClient, context: Context, own_id: str) -> None:
    old = Presence(context.database, Self("worker:1", "worker", "here", 1, "0.1", "0013"))
    await old.start()
    method = "PUT" if own_id else "POST"
    for query, content, kind in (("", ROWS, CSV), ("?on_error=record", b'{"inputs": {"x": 1}}', None)):
        answer = await client.request(method, f"{URL}{own_id}{query}", content=content, headers=kind)
        problem = is_problem(answer, 503, "upgrade_under_way")
        assert str(problem["detail"]).startswith("a prediction of rows or a form, or with on_error must wait")
        assert answer.headers["retry-after"] == "10"
    assert await left_behind(context) == []
    assert (await client.post(URL, json=BODY)).status_code == 202
    await old.stop()
    assert (await client.request(method, f"{URL}{own_id}", content=ROWS, headers=CSV)).status_code == 202
