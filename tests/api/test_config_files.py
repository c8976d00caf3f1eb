"""Config files of a service: part of its revision, changed by a merge patch, sealed and never read back."""

from collections.abc import Mapping

import pytest
from httpx2 import AsyncClient, Response
from sqlalchemy import select

from api.dependencies import Context
from api.schemas.services import RevisionPage
from core.settings import Settings
from state.revisions import config_of
from state.tables import Revision
from tests.api.catalogue import add_ready_versions, is_running, running_service
from tests.api.iris import IRIS, SERVICES, deploy, shown
from tests.api.platform import is_problem, work_on

SECRET = "password: hunter2\n"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Bodies as large as they may be."""
    return settings.model_copy(update={"max_body_bytes": Settings(data=settings.data).max_body_bytes})


@pytest.fixture(autouse=True)
async def model(context: Context) -> None:
    """Two ready versions of the model `iris`."""
    await add_ready_versions(context, 2)


async def patch(client: AsyncClient, files: Mapping[str, str | None] | None) -> Response:
    return await client.patch(IRIS, json={"config_files": files})


async def files_of(context: Context) -> list[dict[str, str]]:
    """What the node will find in each revision, the oldest first."""
    async with context.database.read() as session:
        rows = list(await session.scalars(select(Revision).order_by(Revision.number)))
    return [config_of(context.vault, row.config_sealed, row.id) for row in rows]


async def test_only_names_and_sizes_are_ever_shown(client: AsyncClient, context: Context) -> None:
    answer = await deploy(client, config_files={"db.yaml": SECRET, "rules/a.csv": "ä"})
    assert answer.status_code == 202
    found = await client.get(IRIS)
    revisions = await client.get(f"{IRIS}/revisions")
    sizes = {"db.yaml": len(SECRET), "rules/a.csv": 2}
    assert (await shown(client)).config_file_names == sizes
    assert RevisionPage.model_validate(revisions.json()).items[0].config_file_names == sizes
    told = [answer, found, revisions, await client.get("/api/v1/operations"), await client.get(SERVICES)]
    assert not any("hunter2" in each.text for each in told)
    async with context.database.read() as session:
        row = (await session.scalars(select(Revision))).one()
    assert row.config_sealed is not None
    assert "hunter2" not in row.config_sealed
    assert await files_of(context) == [{"db.yaml": SECRET, "rules/a.csv": "ä"}]


async def test_a_patch_merges_files_and_null_removes_them(client: AsyncClient, context: Context) -> None:
    await running_service(client, context, config_files={"a": "1", "b": "2"})
    assert (await patch(client, {"a": "1"})).status_code == 200  # as it is: no revision
    assert (await patch(client, {"a": "3", "b": None, "c/d": ""})).status_code == 202
    await client.patch(IRIS, json={"replicas": 2})
    assert (await patch(client, None)).status_code == 202
    assert await files_of(context) == [{"a": "1", "b": "2"}, {"a": "3", "c/d": ""}, {}]
    assert (await shown(client)).config_file_names == {}


async def test_put_says_all_files_and_a_rollback_brings_the_old_ones_back(
    client: AsyncClient, context: Context
) -> None:
    await running_service(client, context, config_files={"a": "1", "b": "2"})
    body = {"model": "iris", "config_files": {"a": "2"}}
    assert (await client.put(IRIS, json=body)).status_code == 202
    await work_on(context, is_running)
    assert (await client.put(IRIS, json=body)).status_code == 200
    assert (await client.patch(IRIS, json={"env": {"A": "1"}})).status_code == 202
    await work_on(context, is_running)
    assert (await client.post(f"{IRIS}:rollback", json={"revision": 1})).status_code == 202
    await work_on(context, is_running)
    assert await files_of(context) == [{"a": "1", "b": "2"}, {"a": "2"}, {"a": "2"}, {"a": "1", "b": "2"}]
    is_problem(await client.post(f"{IRIS}:rollback", json={"revision": 1}), 409, "same_revision")


async def test_content_alone_makes_another_revision(client: AsyncClient, context: Context) -> None:
    await running_service(client, context, config_files={"a": "1"})
    await patch(client, {"a": "2"})
    await work_on(context, is_running)
    # Without a number it is the one that runs something else: same names and sizes do not make it the same.
    assert (await client.post(f"{IRIS}:rollback")).status_code == 202
    assert (await files_of(context))[-1] == {"a": "1"}


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../up", "a/../../b", "a//b", "a/", "", ".", "./a", "..data", "tab\t", "a b", "x" * 201, "ä"],
)
async def test_a_path_that_leaves_its_folder_or_is_strange_is_refused(client: AsyncClient, path: str) -> None:
    problem = is_problem(await deploy(client, config_files={path: "x"}), 422, "invalid_field")
    assert problem["errors"][0]["pointer"] == "/config_files/" + path[:200].replace("/", "~1")  # type: ignore[index]


TOO_MUCH: dict[str, tuple[Mapping[str, object], str]] = {
    "a large file": ({"a": "x" * (256 * 1024 + 1)}, "/config_files/a"),
    "many files": ({f"f{n}": "" for n in range(51)}, "/config_files"),
    "a number": ({"a": 1}, "/config_files/a"),
    "a file that is a folder too": ({"a/b": "", "a": ""}, "/config_files"),
    "a file deep in a file": ({"a/b/c": "", "a/b": ""}, "/config_files"),
}


@pytest.mark.parametrize("case", TOO_MUCH)
async def test_what_is_too_much_or_collides_is_named(client: AsyncClient, case: str) -> None:
    files, pointer = TOO_MUCH[case]
    await deploy(client)
    for answer in (
        await client.post(SERVICES, json={"name": "other", "model": "iris", "config_files": files}),
        await client.patch(IRIS, json={"config_files": files}),
    ):
        assert answer.json()["errors"][0]["pointer"] == pointer
        assert answer.status_code == 422
    assert (await shown(client)).generation == 1


async def test_the_limits_hold_for_all_that_patches_bring_together(client: AsyncClient, context: Context) -> None:
    large = "x" * (256 * 1024)
    await deploy(client, config_files={"a": large, "b": large, "c": large})
    assert (await patch(client, {"d": large})).status_code == 202
    detail = str(is_problem(await patch(client, {"e": "x"}), 422, "invalid_field")["detail"])
    assert "1048576 bytes together, and these have 1048577" in detail
    is_problem(await patch(client, {"a/b": "x"}), 422, "invalid_field")
    assert (await patch(client, {"a": None, "a/b": "x"})).status_code == 202
    assert sorted((await files_of(context))[-1]) == ["a/b", "b", "c", "d"]
