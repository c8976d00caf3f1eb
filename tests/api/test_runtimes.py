"""`/runtimes`: what the nodes that are alive have said, each engine once."""

from collections.abc import Mapping, Sequence

from httpx2 import AsyncClient

from api.dependencies import Context
from api.routes.runtimes import RuntimePage
from core.errors import Json
from state.processes import Presence, Self
from tests.api.platform import is_problem

RUNTIMES = "/api/v1/runtimes"
ONNX: Mapping[str, Json] = {
    "engine": "onnxruntime", "engine_version": "1.31.0", "formats": ["onnx"], "python": "3.11.2",
}  # fmt: skip
PMML: Mapping[str, Json] = {"engine": "pypmml", "engine_version": "1.5.8", "formats": ["pmml"], "python": "3.11.2"}


async def says(context: Context, id: str, *runtimes: Mapping[str, Json], role: str = "node") -> Presence:
    """A process that says it can run these."""
    told: Sequence[Mapping[str, Json]] = runtimes
    me = Self(id, role, "localhost", 1, "1.0", "0005")
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
