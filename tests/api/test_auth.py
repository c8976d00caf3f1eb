"""Who may ask: tokens everywhere, and on a loopback address tokenless callers of this machine only."""

from collections.abc import AsyncIterator, Mapping

import pytest
from httpx2 import ASGITransport, AsyncClient

from api.app import build_app
from api.auth import Authenticator, ForeignHost, host_name, is_loopback
from api.dependencies import Context
from core.clock import now_micros
from core.errors import Unauthenticated
from core.secrets import hash_token, new_token
from core.settings import Settings
from state.queries import tokens
from tests.api.platform import LOCAL, add_user, is_problem, open_context, until

ME = "/api/v1/me"


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8000", "LOCALHOST"]
)
async def test_a_tokenless_caller_of_this_machine_is_the_local_admin(client: AsyncClient, host: str) -> None:
    answer = await client.get(ME, headers={"Host": host})
    assert answer.json() == {"user": "local", "role": "admin", "tenant": "ten_default"}


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil@localhost",
        "",
        "10.0.0.1",
        "localhost:x",
    ],
)
async def test_a_foreign_host_is_refused_without_a_token(client: AsyncClient, host: str) -> None:
    is_problem(await client.get(ME, headers={"Host": host}), 403, "foreign_host")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "file://"},
        {"Origin": "http://localhost.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "Cross-Site", "Origin": "http://localhost:8000"},
    ],
)
async def test_a_page_of_another_site_is_refused_without_a_token(
    client: AsyncClient, headers: Mapping[str, str]
) -> None:
    is_problem(await client.get(ME, headers=headers), 403, "foreign_origin")


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://localhost:8000"}, {"Origin": "http://127.0.0.1"}, {"Sec-Fetch-Site": "same-origin"}]
)
async def test_a_page_of_this_machine_is_admitted(client: AsyncClient, headers: Mapping[str, str]) -> None:
    assert (await client.get(ME, headers=headers)).status_code == 200


@pytest.mark.parametrize("credentials", ["Bearer pst_wrong", "Bearer ", "Basic bG9jYWw6", "pst_wrong"])
async def test_an_invalid_token_is_401_even_on_loopback(client: AsyncClient, credentials: str) -> None:
    answer = await client.get(ME, headers={"Authorization": credentials})
    is_problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_valid_token_needs_no_loopback_host_or_origin(client: AsyncClient, context: Context) -> None:
    token = await add_user(context, "acme", "ada")
    answer = await client.get(ME, headers={**token, "Host": "portside.example", "Origin": "https://acme.example"})
    assert answer.json()["user"] == "ada"


async def test_who_asks_is_known_before_the_body_is_read(client: AsyncClient) -> None:
    headers = {"Authorization": "Bearer pst_wrong", "Content-Type": "application/json"}
    is_problem(await client.post("/api/v1/webhooks", content=b"{", headers=headers), 401, "unauthenticated")


async def test_a_new_token_works_at_once_and_a_revoked_one_no_more(client: AsyncClient) -> None:
    made = (await client.post("/api/v1/tokens", json={"name": "ci"})).json()
    bearer = {"Authorization": f"Bearer {made['token']}"}
    await until(lambda: _answers(client, bearer, 200))
    assert (await client.delete(f"/api/v1/tokens/{made['id']}")).status_code == 204
    await until(lambda: _answers(client, bearer, 401))
    assert (await client.get(f"/api/v1/tokens/{made['id']}")).status_code == 404


async def test_an_expired_token_is_refused(client: AsyncClient, context: Context) -> None:
    text = new_token()
    async with context.database.write() as session:
        await tokens.add(session, LOCAL, "old", hash_token(text), now_micros() - 1)
    is_problem(await client.get(ME, headers={"Authorization": f"Bearer {text}"}), 401, "unauthenticated")


async def test_a_token_is_shown_once_and_never_again(client: AsyncClient) -> None:
    made = (await client.post("/api/v1/tokens", json={"name": "ci"}, headers={"Idempotency-Key": "k"})).json()
    assert made["token"].startswith("pst_")
    again = await client.post("/api/v1/tokens", json={"name": "ci"}, headers={"Idempotency-Key": "k"})
    assert again.json() == {key: value for key, value in made.items() if key != "token"}
    assert all("token" not in item for item in (await client.get("/api/v1/tokens")).json()["items"])


async def test_the_objects_of_another_tenant_do_not_exist(client: AsyncClient, context: Context) -> None:
    mine = (await client.post("/api/v1/webhooks", json={"url": "https://example.com/"})).json()["id"]
    other = await add_user(context, "acme", "ada")
    is_problem(await client.get(f"/api/v1/webhooks/{mine}", headers=other), 404, "not_found")
    is_problem(await client.delete(f"/api/v1/webhooks/{mine}", headers=other), 404, "not_found")
    assert (await client.get("/api/v1/webhooks?count=true", headers=other)).json()["total"] == 0


async def test_only_admins_read_the_default_secret_and_make_tokens(client: AsyncClient, context: Context) -> None:
    viewer = await add_user(context, "acme", "bob", role="viewer")
    is_problem(await client.get("/api/v1/webhooks/default/secret", headers=viewer), 403, "forbidden")
    is_problem(await client.post("/api/v1/tokens", json={"name": "x"}, headers=viewer), 403, "forbidden")


async def test_the_snapshot_serves_on_while_the_database_is_away(context: Context) -> None:
    bearer = await add_user(context, "acme", "ada")
    await context.database.close()
    who = context.authenticator.authenticate([(b"authorization", bearer["Authorization"].encode())])
    assert who.actor == "ada"


async def test_a_token_that_was_just_made_is_known_however_lately_the_snapshot_was_read(
    client: AsyncClient, context: Context
) -> None:
    unwatched = Authenticator(context.database, admits_tokenless=False)  # not started: it reads when it must
    await unwatched.refresh()
    token = (await client.post("/api/v1/tokens", json={"name": "new"})).json()["token"]
    who = await unwatched.admit([(b"authorization", f"Bearer {token}".encode())])
    assert who.actor == "local"


@pytest.fixture
async def public(settings: Settings) -> AsyncIterator[AsyncClient]:
    """A client of a platform that listens on every address."""
    async with open_context(settings.model_copy(update={"host": "0.0.0.0"})) as context:
        transport = ASGITransport(build_app(context))
        async with AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client


async def test_any_other_address_needs_a_token(public: AsyncClient) -> None:
    is_problem(await public.get(ME), 401, "unauthenticated")
    assert (await public.get("/healthz")).status_code == 200


async def test_a_setting_asks_for_tokens_on_loopback_too(settings: Settings) -> None:
    async with (
        open_context(settings.model_copy(update={"require_token": True})) as context,
        AsyncClient(transport=ASGITransport(build_app(context)), base_url="http://localhost") as client,
    ):
        is_problem(await client.get(ME), 401, "unauthenticated")


async def test_the_gateway_asks_without_a_database(context: Context) -> None:
    authenticator = Authenticator(context.database, admits_tokenless=True)
    assert authenticator.authenticate([(b"host", b"localhost:8000")]).tenant_id == "ten_default"
    with pytest.raises(ForeignHost):
        authenticator.authenticate([(b"host", b"evil.example")])
    with pytest.raises(Unauthenticated):
        authenticator.authenticate([(b"host", b"localhost"), (b"authorization", b"Bearer pst_x")])


def test_addresses_of_this_machine_are_recognised() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "portside", "")))


def test_the_name_in_a_host_header_is_read_without_its_port() -> None:
    assert host_name("[::1]:80") == "::1"
    assert host_name("Example.COM:80") == "example.com"
    assert host_name("a/b") == host_name("u@localhost") == ""


async def _answers(client: AsyncClient, headers: Mapping[str, str], status: int) -> bool:
    return (await client.get(ME, headers=headers)).status_code == status
