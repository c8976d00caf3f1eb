"""`/runtimes`: what the nodes that are alive have said, each engine once, and services that pin one."""

from collections.abc import Mapping, Sequence

import pytest
from httpx2 import AsyncClient
from sqlalchemy import update

from api.dependencies import Context
from api.routes.runtimes import RuntimePage
from api.schemas.services import RuntimeBody
from core.errors import Json
from state.processes import Presence, Self
from state.tables import Version
from tests.api.catalogue import add_ready_versions, is_running, running_service
from tests.api.iris import IRIS, deploy, shown
from tests.api.platform import is_problem, work_on

RUNTIMES = "/api/v1/runtimes"
ONNX: Mapping[str, Json] = {
    "engine": "onnxruntime", "engine_version": "1.31.0", "formats": ["onnx"], "python": "3.11.2",
}  # fmt: skip
PMML: Mapping[str, Json] = {"engine": "pypmml", "engine_version": "1.5.8", "formats": ["pmml"], "python": "3.11.2"}


async def says(context: Context, id: str, *runtimes: Mapping[str, Json], role: str = "node") -> Presence:
    """A process that says it can run these."""
    told: Sequence[Mapping[str, Json]] = runtimes
    me = Self(id, role, "localhost", 1, "1.0", "0014")
    presence = Presence(context.database, me, lambda: {"runtimes": told})
    await presence.start()
    return presence


async def test_what_all_nodes_have_is_told_once(client: AsyncClient, context: Context) -> None:
    nodes = [await says(context, "one", PMML, ONNX), await says(context, "two", ONNX)]
    page = RuntimePage.model_validate((await client.get(RUNTIMES)).json())
    assert [(item.engine, item.formats) for item in page.items] == [("onnxruntime", ["onnx"]), ("pypmml", ["pmml"])]
    for node in nodes:
        await node.stop()


async def test_without_a_word_of_a_node_one_is_told_to_come_again(client: AsyncClient, context: Context) -> None:
    answer = await client.get(RUNTIMES)
    assert "portside node" in str(is_problem(answer, 503, "runtimes_unknown")["detail"])
    assert int(answer.headers["retry-after"]) > 0
    node = await says(context, "empty")
    assert (await client.get(RUNTIMES)).json() == {"items": [], "next_page_token": None}
    await node.stop()
    is_problem(await client.get(RUNTIMES), 503, "runtimes_unknown")


async def test_what_a_node_has_can_be_pinned_and_is_shown(client: AsyncClient, context: Context) -> None:
    await add_ready_versions(context, 2)
    node = await says(context, "one", PMML, ONNX)
    await running_service(client, context, runtime={"engine": "onnxruntime", "engine_version": "1.31"})
    assert (await shown(client)).runtime == RuntimeBody(engine="onnxruntime", engine_version="1.31")
    assert (await client.patch(IRIS, json={"runtime": {"engine_version": "1.31"}})).status_code == 200
    assert (await client.patch(IRIS, json={"runtime": {"engine": None, "python": "3.11.2"}})).status_code == 202
    await work_on(context, is_running)
    assert (await shown(client)).runtime == RuntimeBody(engine_version="1.31", python="3.11.2")
    assert (await client.put(IRIS, json={"model": "iris", "runtime": {"python": "3"}})).status_code == 202
    assert (await shown(client)).runtime == RuntimeBody(python="3")
    await client.patch(IRIS, json={"runtime": None})
    assert (await shown(client)).runtime is None
    pinned = (await client.get(f"{IRIS}/revisions", params={"order_by": "number"})).json()["items"]
    assert pinned[0]["runtime"] == {"engine": "onnxruntime", "engine_version": "1.31"}
    await node.stop()


@pytest.mark.parametrize(
    "pin",
    [{"engine": "pypmml"}, {"engine_version": "1.3"}, {"engine_version": "1.31.0.1"}, {"python": "3.12"}],
)
async def test_what_no_node_has_for_the_format_is_refused_with_what_there_is(
    client: AsyncClient, context: Context, pin: dict[str, str]
) -> None:
    await add_ready_versions(context, 1)
    node = await says(context, "one", PMML, ONNX)
    problem = is_problem(await deploy(client, runtime=pin), 422, "invalid_field")
    assert "there is: onnxruntime 1.31.0 on Python 3.11.2" in str(problem["detail"])
    assert "'pointer': '/runtime'" in str(problem["errors"])
    await node.stop()


async def test_nothing_can_be_pinned_while_no_node_says_what_it_has(client: AsyncClient, context: Context) -> None:
    await add_ready_versions(context, 1)
    is_problem(await deploy(client, runtime={"python": "3.11"}), 503, "runtimes_unknown")
    assert (await deploy(client)).status_code == 202


async def test_a_service_without_a_pin_says_what_it_runs_on(client: AsyncClient, context: Context) -> None:
    await add_ready_versions(context, 1)
    node = await says(context, "one", PMML, ONNX)
    await deploy(client)
    assert (await shown(client)).runs_on is None
    await work_on(context, is_running)
    found = await shown(client)
    assert found.runtime is None
    assert found.runs_on == RuntimeBody(engine="onnxruntime", engine_version="1.31.0", python="3.11.2")
    await node.stop()
    assert (await shown(client)).runs_on is None


async def test_a_pin_is_compared_again_only_where_it_or_the_version_changes(
    client: AsyncClient, context: Context
) -> None:
    await add_ready_versions(context, 2)
    node = await says(context, "one", ONNX)
    await running_service(client, context, version=1, runtime={"python": "3.11"})
    await node.stop()
    assert (await client.patch(IRIS, json={"env": {"A": "1"}})).status_code == 202
    is_problem(await client.patch(IRIS, json={"version": 2}), 503, "runtimes_unknown")


async def test_a_pin_holds_for_every_part_of_a_version(client: AsyncClient, context: Context) -> None:
    await add_ready_versions(context, 1)
    parts = [{"key": name, "signature": {"format": name}} for name in ("onnx", "pmml")]
    async with context.database.write() as session:
        await session.execute(update(Version).values(format="parts", signature={"format": "pmml", "parts": parts}))
    node = await says(context, "one", PMML, ONNX)
    problem = is_problem(await deploy(client, runtime={"engine": "onnxruntime"}), 422, "invalid_field")
    assert "no node runs pmml with engine onnxruntime" in str(problem["detail"])
    await running_service(client, context, runtime={"python": "3.11"})
    runs_on = (await shown(client)).model_dump()["runs_on"]
    assert runs_on is not None
    assert runs_on["engine"] == "pypmml"  # that of the default part
    await node.stop()
