"""Script jobs over the API: what can be said of one, how it is checked, changed and shown; no worker runs here."""

from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
from httpx2 import AsyncClient
from sqlalchemy import select

from api.dependencies import Context
from core.clock import now_micros
from state.blobs import touch_blob
from state.jobtables import Run, RunArtifact
from state.scripting import pin_script
from tests.api.jobs import JOBS, add_dataset, end_work, prepared
from tests.api.platform import is_problem

HELLO: Mapping[str, object] = {"name": "hello", "kind": "script", "script": {"source": "print('hello')"}}
WHERE = f"{JOBS}/hello"


@pytest.fixture(autouse=True)
async def _world(context: Context) -> None:
    await prepared(context)


@pytest.fixture
async def owner(client: AsyncClient) -> AsyncClient:
    """A client with a token."""
    made = await client.post("/api/v1/tokens", json={"name": "scripts"})
    client.headers["Authorization"] = f"Bearer {made.json()['token']}"
    return client


async def test_a_script_job_is_shown_with_every_default_filled_in(owner: AsyncClient) -> None:
    answer = await owner.post(JOBS, json={**HELLO, "env": {"COLOUR": "red"}})
    shown = answer.json()
    assert answer.status_code == 201, shown
    assert (await owner.get(WHERE)).json() == shown
    expected: dict[str, object] = {
        "kind": "script",
        "inputs": {"datasets": {}, "models": {}},
        "outputs": {},
        "args": [],
        "resources": {"cpu": None, "memory": None},
        "retries": {"count": 0, "backoff_s": 30},
        "env_names": ["COLOUR"],
        "model": None,
        "input": None,
    }
    assert {name: shown[name] for name in expected} == expected
    assert shown["script"]["entry"] == "main.py"
    assert (await owner.get(f"{WHERE}/script")).text == "print('hello')"


UNFIT: Sequence[tuple[Mapping[str, object], str, str]] = (
    ({"script": {}}, "/script", "a source or a file"),
    ({"script": {"source": "1", "file": "file_1"}}, "/script", "one of both"),
    ({"script": {"file": "file_nobody"}}, "/script/file", "file_nobody"),
    ({"script": {"digest": "sha256:" + "0" * 64}}, "/script/digest", "no script of this job"),
    ({"script": {"source": "1", "entry": "../main.py"}}, "/script/entry", "below the folder"),
    ({"script": {"source": "1", "python": "2.7"}}, "/script/python", "not 2.7"),
    ({"script": {"source": "1", "requirements": ["-r /etc/passwd"]}}, "/script/requirements", "no requirement"),
    ({"script": {"source": "1", "requirements": ["--no-index"]}}, "/script/requirements", "no requirement"),
    ({"script": {"source": "1", "requirements": "six @ file:///x"}}, "/script/requirements", "no requirement"),
    ({"script": {"source": "1", "requirements": "git+https://x"}}, "/script/requirements", "no requirement"),
    ({"inputs": {"datasets": {"train": "nothing"}}}, "/inputs/datasets/train", "no dataset is named"),
    ({"inputs": {"datasets": {"../x": "flowers"}}}, "/inputs/datasets", "no name for a script"),
    ({"inputs": {"models": {"base": "nobody"}}}, "/inputs/models/base", "no model is named"),
    ({"inputs": {"models": {"base": "iris/99"}}}, "/inputs/models/base", "no version '99'"),
    ({"outputs": {"../x": {"dataset": "a"}}}, "/outputs/..~1x", "the path of a file"),
    ({"outputs": {"a.onnx": {}}}, "/outputs/a.onnx", "one of both"),
    ({"mapping": {}}, "/mapping", "there is no field"),
)


@pytest.mark.parametrize(("change", "pointer", "words"), UNFIT, ids=[words for _, _, words in UNFIT])
async def test_what_does_not_fit_is_named(
    owner: AsyncClient, change: Mapping[str, object], pointer: str, words: str
) -> None:
    answer = await owner.post(JOBS, json={**HELLO, **change})
    document = answer.json()
    assert answer.status_code in (404, 422), document
    assert document["errors"][0]["pointer"] == pointer
    assert words in answer.text


@pytest.mark.parametrize(
    "requirements",
    [
        ["scikit-learn==1.7.2", "numpy>=2,<3 ; python_version >= '3.11'", "uvicorn[standard]"],
        "# two\nsix==1.17.0 --hash=sha256:" + "a" * 64 + "\n\nsix @ https://example.com/six-1.17.0-py3-none-any.whl\n",
        "six==1.17.0 \\\n    --hash=sha256:" + "a" * 64 + " \\\n    --hash=sha256:" + "b" * 64,
    ],
)
async def test_requirements_are_lines(owner: AsyncClient, requirements: object) -> None:
    answer = await owner.post(JOBS, json={**HELLO, "script": {"source": "1", "requirements": requirements}})
    assert answer.status_code == 201, answer.text


async def test_a_script_is_changed_in_part_and_as_a_whole(owner: AsyncClient) -> None:
    await owner.post(JOBS, json={**HELLO, "inputs": {"datasets": {"train": "flowers"}, "models": {"base": "iris"}}})
    shown = (await owner.patch(WHERE, json={"script": {"requirements": "six"}, "args": ["1"]})).json()
    assert (shown["script"]["requirements"], shown["args"]) == ("six", ["1"])
    assert (await owner.get(f"{WHERE}/script")).text == "print('hello')"
    shown = (await owner.patch(WHERE, json={"script": {"source": "2"}, "inputs": {"models": None}})).json()
    assert shown["script"]["requirements"] == "six"
    assert shown["inputs"] == {"datasets": {"train": "flowers"}, "models": {}}
    assert (await owner.get(f"{WHERE}/script")).text == "2"
    refused = await owner.patch(WHERE, json={"mapping": {"a": "b"}})
    assert is_problem(refused, 422, "invalid_field")
    assert "a script has no 'mapping'" in refused.text


async def test_nobody_without_a_token_has_a_script(client: AsyncClient) -> None:
    assert is_problem(await client.post(JOBS, json=HELLO), 403, "script_needs_token")


async def test_a_run_has_other_arguments(owner: AsyncClient) -> None:
    await owner.post(JOBS, json=HELLO)
    answer = await owner.post(f"{WHERE}:run", json={"args": ["--fast"], "env": {"A": "b"}})
    assert answer.status_code == 202, answer.text
    run = (await owner.get(f"{WHERE}/runs/1")).json()
    assert (run["args"], run["env_names"], run["spec"]["script"]["entry"]) == (["--fast"], ["A"], "main.py")
    late = await owner.post(f"{WHERE}/runs/1/reports", json={"values": {"loss": 1}})
    assert is_problem(late, 409, "run_not_running")
    assert is_problem(await owner.post(f"{WHERE}/runs/1/reports", json={"values": {"a": []}}), 422, "invalid_field")
    assert (await owner.get(f"{WHERE}/runs/1/artifacts")).json() == {"items": [], "next_page_token": None}
    assert is_problem(await owner.get(f"{WHERE}/runs/1/artifacts/a.csv"), 404, "not_found")


async def test_what_a_script_left_is_found_by_its_url_and_by_prefix_letter_by_letter(
    owner: AsyncClient, context: Context
) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"left"

    await owner.post(JOBS, json=HELLO)
    run = (await owner.post(f"{WHERE}:run", json={})).json()["target"]["id"]
    stored = await context.store.put(content())
    kept = {"run_id": run, "role": "output", "digest": str(stored.digest), "size_bytes": 4, "created_at": now_micros()}
    paths = ["A/1.txt", "a/100% sure?.txt", "a/b#c.txt", "ä.txt"]
    async with context.database.write() as session:
        session.add_all(RunArtifact(path=path, **kept) for path in paths)
    items = (await owner.get(f"{WHERE}/runs/1/artifacts")).json()["items"]
    assert [each["path"] for each in items] == paths
    for each in items:
        answer = await owner.get(each["url"])
        assert (answer.status_code, answer.content) == (200, b"left"), each["url"]
    for prefix, expected in (("a", paths[1:3]), ("A", paths[:1]), ("a/1", paths[1:2])):
        found = (await owner.get(f"{WHERE}/runs/1/artifacts", params={"prefix": prefix})).json()["items"]
        assert [each["path"] for each in found] == expected


async def test_a_list_leaves_out_what_a_script_needs_and_leaves(owner: AsyncClient) -> None:
    script = {"source": "1", "requirements": ["numpy==2.0.0"]}
    large = {"script": script, "outputs": {"a.csv": {"dataset": "a"}}, "args": ["-v"]}
    made = (await owner.post(JOBS, json={**HELLO, **large})).json()
    assert (made["script"]["requirements"], made["outputs"]) == ("numpy==2.0.0", large["outputs"])
    listed = {**made, "outputs": None, "args": None, "script": {**made["script"], "requirements": None}}
    assert (await owner.get(JOBS)).json()["items"] == [listed]


async def test_a_dataset_that_a_script_waits_to_read_is_not_deleted(owner: AsyncClient, context: Context) -> None:
    for name in ("first", "second", "free"):
        await add_dataset(context, name)
    await owner.post(JOBS, json={**HELLO, "inputs": {"datasets": {"a": "first", "b": "second"}}})
    await owner.post(f"{WHERE}:run", json={})
    for name in ("first", "second"):
        problem = is_problem(await owner.delete(f"/api/v1/datasets/{name}"), 409, "in_use")
        assert problem["runs"] == [f"{WHERE}/runs/1"]
    assert (await owner.delete("/api/v1/datasets/free")).status_code == 204
    await owner.post(f"{WHERE}/runs/1:stop")
    await end_work(context, "control")
    for name in ("first", "second"):
        assert (await owner.delete(f"/api/v1/datasets/{name}")).status_code == 204


async def test_a_version_that_a_script_reads_is_not_deleted(owner: AsyncClient, context: Context) -> None:
    iris = "/api/v1/models/iris"
    await owner.post(JOBS, json={**HELLO, "inputs": {"models": {"old": "iris/1", "new": "iris/2"}}})
    for path in (iris, f"{iris}?cascade=true", f"{iris}?dry_run=true", f"{iris}/versions/1", f"{iris}/versions/2"):
        problem = is_problem(await owner.delete(path), 409, "in_use")
        assert problem["jobs"] == [WHERE], path
    await owner.post(f"{WHERE}:run", json={"inputs": {"models": {"old": None}}})
    await owner.patch(WHERE, json={"inputs": {"models": {"old": None, "new": None}}})
    for path in (iris, f"{iris}?cascade=true", f"{iris}/versions/2"):
        problem = is_problem(await owner.delete(path), 409, "in_use")
        assert problem["runs"] == [f"{WHERE}/runs/1"], "what waits will need it"
    assert (await owner.delete(f"{iris}/versions/1")).status_code == 204
    async with context.database.write() as session:
        await touch_blob(session, f"sha256:{'0' * 64}", 1)
        await pin_script(session, (await session.scalars(select(Run))).one())
    assert is_problem(await owner.delete(f"{iris}/versions/2"), 409, "in_use")["runs"] == [f"{WHERE}/runs/1"]
    await owner.post(f"{WHERE}/runs/1:stop")
    await end_work(context, "control")
    assert (await owner.delete(iris)).status_code == 204
