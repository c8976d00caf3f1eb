"""`/snippets`: which URL, which sample and which token the code has; `tests/e2e/test_snippets.py` runs it."""

from dataclasses import replace

import pytest
from httpx2 import ASGITransport, AsyncClient
from prometheus_client import CollectorRegistry

from api.app import build_app
from api.dependencies import Context
from api.schemas.services import SnippetsShown
from api.snippets import Question, curl, javascript, python
from state.cataloguing import hold_model
from state.queries.versions import find_version
from tests.api.catalogue import add_ready_versions, is_running, running_service
from tests.api.iris import IRIS
from tests.api.platform import LOCAL, add_user, is_problem, work_on

SNIPPETS = f"{IRIS}/snippets"


async def give_sample(context: Context, version: str, sample: object) -> None:
    """As its inspection would have."""
    async with context.database.write() as session:
        row = await find_version(session, await hold_model(session, LOCAL, "iris"), version)
        row.signature = {**(row.signature or {}), "sample": sample}


@pytest.fixture(autouse=True)
async def service(client: AsyncClient, context: Context) -> None:
    """A service of version 1; both versions have a sample."""
    await add_ready_versions(context, 2)
    await give_sample(context, "1", {"x": [1, 2, 3, 4]})
    await give_sample(context, "2", {"x": [5, 6, 7, 8]})
    await running_service(client, context, version=1)


async def test_the_sample_is_that_of_the_version_that_is_live(client: AsyncClient, context: Context) -> None:
    await client.patch(IRIS, json={"version": 2})
    assert "[1, 2, 3, 4]" in SnippetsShown.model_validate((await client.get(SNIPPETS)).json()).curl
    await work_on(context, is_running)
    assert "[5, 6, 7, 8]" in SnippetsShown.model_validate((await client.get(SNIPPETS)).json()).curl


async def test_the_address_is_the_public_one(context: Context) -> None:
    settings = context.settings.model_copy(update={"public_url": "https://models.example.com/"})
    app = build_app(replace(context, settings=settings, registry=CollectorRegistry()))
    async with AsyncClient(transport=ASGITransport(app), base_url="http://localhost:8000") as client:
        shown = (await client.get(SNIPPETS)).json()
    for code in shown.values():
        assert "https://models.example.com/api/v1/services/iris/predict" in code
        assert "PORTSIDE_TOKEN" not in code


async def test_a_model_without_a_sample_has_no_snippets(client: AsyncClient, context: Context) -> None:
    await give_sample(context, "1", None)
    is_problem(await client.get(SNIPPETS), 404, "no_sample")
    is_problem(await client.get("/api/v1/services/nobody/snippets"), 404, "not_found")
    other = await add_user(context, "acme", "eve")
    is_problem(await client.get(SNIPPETS, headers=other), 404, "not_found")


def test_whatever_the_sample_says_stays_a_value() -> None:
    hostile = "'; rm -rf / #\"\\\n`$(id)` ${x} {y} </script> größe"
    question = Question("http://h/p", {"inputs": {"a": hostile, "b": None, "c": True}}, needs_token=True)
    assert "'\"'\"'; rm -rf / #" in curl(question)
    compile(python(question), "snippet", "exec")
    assert repr(hostile) in python(question)
    assert "\\n`$(id)`" in javascript(question)
