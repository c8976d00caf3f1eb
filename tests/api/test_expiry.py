"""`expires_after`: a service may be given an end, which counts from the request that says it."""

from datetime import UTC, datetime, timedelta

import pytest
from httpx2 import AsyncClient

from api.dependencies import Context
from tests.api.catalogue import add_ready_versions, running_service
from tests.api.iris import IRIS, deploy, shown


@pytest.fixture(autouse=True)
async def model(context: Context) -> None:
    """A ready version of the model `iris`."""
    await add_ready_versions(context, 1)


async def left(client: AsyncClient) -> timedelta | None:
    """How long the service has still to live."""
    expires_at = (await shown(client)).expires_at
    return None if expires_at is None else datetime.fromisoformat(expires_at) - datetime.now(UTC)


def is_about(found: timedelta | None, wanted: timedelta) -> bool:
    return found is not None and abs(found - wanted) < timedelta(seconds=30)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
    ],
)
async def test_a_service_is_deployed_with_an_end(client: AsyncClient, said: str, meant: timedelta) -> None:
    assert (await deploy(client, expires_after=said)).status_code == 202
    assert is_about(await left(client), meant)


async def test_an_end_is_changed_and_taken_away_without_touching_what_runs(
    client: AsyncClient, context: Context
) -> None:
    await running_service(client, context)
    assert await left(client) is None
    answer = await client.patch(IRIS, json={"expires_after": "1h"})
    assert (answer.status_code, answer.json()["status"], answer.json()["revision"]) == (200, "running", 1)
    assert is_about(await left(client), timedelta(hours=1))
    await client.patch(IRIS, json={"description": "flowers"})
    assert is_about(await left(client), timedelta(hours=1))
    await client.patch(IRIS, json={"expires_after": None})
    assert await left(client) is None
    await client.put(IRIS, json={"model": "iris", "expires_after": "2h"})
    assert is_about(await left(client), timedelta(hours=2))
    assert (await client.put(IRIS, json={"model": "iris"})).status_code == 200
    assert await left(client) is None
