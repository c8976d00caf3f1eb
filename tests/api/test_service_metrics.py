"""`/services/{s}/metrics`: told from samples whoever wrote them, in windows, to the service's tenant only."""

import pytest
from httpx2 import AsyncClient

from api.dependencies import Context
from api.schemas.service_metrics import ServiceMetricsShown
from core.settings import Settings
from state.advance import advance
from state.history import By
from state.migrate import DEFAULT_TENANT
from state.queries.services import find_service
from state.sampling import Sampler, Usage
from state.tables import Replica
from state.traffic import TrafficCounter
from tests.api.catalogue import add_ready_versions, add_replica, is_running, running_service
from tests.api.iris import IRIS
from tests.api.platform import add_user, is_problem, work_on

METRICS = f"{IRIS}/metrics"


async def shown(client: AsyncClient, **query: str) -> ServiceMetricsShown:
    answer = await client.get(METRICS, params=query)
    assert answer.status_code == 200, answer.text
    return ServiceMetricsShown.model_validate(answer.json())


async def iris_with_a_replica(client: AsyncClient, context: Context) -> Replica:
    await add_ready_versions(context, 1)
    await running_service(client, context)
    async with context.database.write() as session:
        service = await find_service(session, DEFAULT_TENANT, "iris")
        replica = await add_replica(session, service)
        await advance(session, replica, "ready", By("node"))
    return replica


class Gateway:
    """What one api process counts and writes."""

    def __init__(self, context: Context, replica: Replica) -> None:
        self._replica, self._traffic = replica, TrafficCounter()
        self._sampler = Sampler(context.database, self._traffic.take, 10)

    async def served(self, count: int, status: int = 200, took_s: float = 0.01, *, itself: bool = False) -> None:
        for _ in range(count):
            replica_id = None if itself else self._replica.id
            self._traffic.count(DEFAULT_TENANT, self._replica.service_id, replica_id, status, took_s)
        await self._sampler.write()


async def test_a_service_that_was_never_asked_has_zeros_and_nulls(client: AsyncClient, context: Context) -> None:
    replica = await iris_with_a_replica(client, context)
    found = await shown(client)
    assert (found.service, [window.window_s for window in found.windows]) == ("iris", [60, 300, 3600])
    assert [(each.id, each.status) for each in found.replicas] == [(replica.id, "ready")]
    for window in (*found.windows, *found.replicas[0].windows):
        assert (window.count, window.rps, window.errors, window.refused) == (0, 0, 0, 0)
        assert window.latency_ms.p50 is window.error_rate is window.cpu is window.memory_bytes is None


async def test_what_two_api_processes_have_written_is_told_together(client: AsyncClient, context: Context) -> None:
    replica = await iris_with_a_replica(client, context)
    one, two = Gateway(context, replica), Gateway(context, replica)
    await one.served(90)
    await two.served(6, took_s=2.0)
    await two.served(3, status=503, took_s=2.0)
    await two.served(21, status=409, itself=True)
    for window in (found := await shown(client)).windows:
        assert (window.count, window.errors, window.refused) == (120, 3, 21)
        assert window.error_rate == pytest.approx(3 / 120)
        assert window.rps == pytest.approx(120 / window.window_s, abs=0.001)
        assert window.latency_ms.p50 == pytest.approx(10, rel=0.05)
        assert window.latency_ms.p95 == window.latency_ms.p99 == pytest.approx(2000, rel=0.05)
    assert [(each.windows[0].count, each.windows[0].refused) for each in found.replicas] == [(99, 0)]


async def test_processor_and_memory_are_shown(client: AsyncClient, context: Context) -> None:
    replica = await iris_with_a_replica(client, context)

    async def see() -> list[Usage]:
        return [Usage(replica.id, cpu_micros=2_500_000, over_micros=10_000_000, memory_bytes=64_000_000)]

    await Sampler(context.database, see, 10).write()
    minute = (await shown(client)).windows[0]
    assert (minute.cpu, minute.memory_bytes, minute.count) == (0.25, 64_000_000, 0)


async def test_a_paused_service_shows_what_it_did(client: AsyncClient, context: Context) -> None:
    gateway = Gateway(context, await iris_with_a_replica(client, context))
    await gateway.served(5)
    await client.post(f"{IRIS}:pause")
    await work_on(context, is_running)
    await gateway.served(2, status=409, itself=True)
    minute = (await shown(client)).windows[0]
    assert (minute.count, minute.refused) == (7, 2)


@pytest.mark.parametrize(("window", "seconds"), [("30s", 30), ("5m", 300), ("1h", 3600)])
async def test_one_window_is_told_alone(client: AsyncClient, context: Context, window: str, seconds: int) -> None:
    await Gateway(context, await iris_with_a_replica(client, context)).served(4)
    (only,) = (await shown(client, window=window)).windows
    assert (only.window_s, only.count) == (seconds, 4)


@pytest.mark.parametrize("window", ["", "0s", "5", "5 m", "1.5h", "2h", "1d", "999999999d", "-5m", "five"])
async def test_any_other_window_is_refused_with_the_rule(client: AsyncClient, context: Context, window: str) -> None:
    await iris_with_a_replica(client, context)
    problem = is_problem(await client.get(METRICS, params={"window": window}), 422, "invalid_field")
    assert problem["errors"][0]["pointer"] == "/window"  # type: ignore[index]
    assert f"{Settings().sample_hours}h" in str(problem["detail"])


async def test_an_unknown_parameter_is_refused(client: AsyncClient, context: Context) -> None:
    await iris_with_a_replica(client, context)
    problem = is_problem(await client.get(METRICS, params={"windows": "5m"}), 422, "unknown_field")
    assert "window" in str(problem["errors"])


async def test_another_tenants_service_is_not_found(client: AsyncClient, context: Context) -> None:
    await iris_with_a_replica(client, context)
    other = await add_user(context, "acme", "ann")
    is_problem(await client.get(METRICS, headers=other), 404, "not_found")
