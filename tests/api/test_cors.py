"""Pages of the origins that the operator names may call the platform and read its answers; others may not."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient

from api.cors import CrossOrigin
from core.settings import Settings

PAGE = "https://app.example.com"
MODELS = "/api/v1/models"


@pytest.fixture
async def opened(app: FastAPI) -> AsyncIterator[AsyncClient]:
    transport = ASGITransport(CrossOrigin(app, (PAGE,)))
    async with AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        yield client


def preflight(method: str) -> dict[str, str]:
    return {
        "origin": PAGE,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization, content-type, idempotency-key",
    }


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_a_preflight_is_answered_without_a_token(opened: AsyncClient, method: str) -> None:
    answer = await opened.options(MODELS, headers=preflight(method))
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert method in answer.headers["access-control-allow-methods"]
    assert "idempotency-key" in answer.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_page_may_read_our_headers_and_our_problems(opened: AsyncClient) -> None:
    answer = await opened.get(MODELS, headers={"origin": PAGE})  # a page of another site, without a token
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")
    assert answer.headers["access-control-allow-origin"] == PAGE
    exposed = answer.headers["access-control-expose-headers"].lower()
    assert {"operation-location", "retry-after", "etag"} <= set(exposed.split(", "))


async def test_other_origins_are_told_nothing(opened: AsyncClient) -> None:
    other = {"origin": "https://evil.example.com"}
    assert "access-control-allow-origin" not in (await opened.get(MODELS, headers=other)).headers
    refused = await opened.options(MODELS, headers={**preflight("POST"), **other})
    assert (refused.status_code, refused.headers.get("access-control-allow-origin")) == (400, None)


async def test_without_a_named_origin_there_is_no_cors(client: AsyncClient) -> None:
    answer = await client.options(MODELS, headers=preflight("POST"))
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origins", ["https://app.example.com/", "app.example.com", "https://App.example.com", "null"])
def test_what_is_no_origin_is_refused(origins: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTSIDE_CORS_ORIGINS", origins)
    with pytest.raises(ValueError, match="is no origin"):
        Settings()


def test_origins_and_proxies_are_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTSIDE_CORS_ORIGINS", "http://localhost:5173, https://a.example.com")
    monkeypatch.setenv("PORTSIDE_TRUSTED_PROXIES", "10.0.0.0/8,::1")
    settings = Settings()
    assert settings.cors_origins == ("http://localhost:5173", "https://a.example.com")
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1")
    monkeypatch.setenv("PORTSIDE_TRUSTED_PROXIES", "10.1.2.3/8,10.0.0.7,2001:DB8::1/32")  # the server reads strictly
    assert Settings().trusted_proxies == ("10.0.0.0/8", "10.0.0.7", "2001:db8::/32")
    monkeypatch.setenv("PORTSIDE_TRUSTED_PROXIES", "proxy")
    with pytest.raises(ValueError, match="is no address or network"):
        Settings()
