"""Jobs over the API: what can be said of a batch, how it is checked, changed and deleted."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from httpx2 import AsyncClient

from api.dependencies import Context
from tests.api.jobs import FIRST, FITTING, FLOWERS, JOBS, add_dataset, make_job, make_run, prepared
from tests.api.platform import add_user, is_problem


@pytest.fixture(autouse=True)
async def _world(context: Context) -> None:
    await prepared(context)


async def test_a_job_is_shown_with_every_default_filled_in(client: AsyncClient) -> None:
    answer = await make_job(client, description="All flowers.", tags=["a"], env={"REGION": "eu"})
    shown = answer.json()
    assert answer.headers["location"].endswith(FLOWERS)
    assert (await client.get(answer.headers["operation-location"])).json()["kind"] == "job.create"
    assert (await client.get(FLOWERS)).json() == shown
    without = dict.fromkeys(("pass_through", "mapping", "args", "outputs"))  # which may be large, in a list
    assert (await client.get(JOBS)).json()["items"] == [shown | without]
    expected = {
        "model": "iris",
        "version": "latest",
        "input": {"dataset": "flowers"},
        "output": {"name": "{job}-{run}", "format": None, "compression": None, "replace": False},
        "pass_through": ["id"],
        "on_error": {"policy": "skip", "limit": None},
        "parallelism": 1,
        "resources": {"cpu": None, "memory": None},
        "retries": {"count": 0, "backoff_s": 30},
        "env_names": ["REGION"],
        "status": "active",
        "last_run": None,
        "live_runs": 0,
    }
    assert {name: shown[name] for name in expected} == expected
    assert "eu" not in answer.text


UNFIT: Sequence[tuple[Mapping[str, object], str, str]] = (
    ({"model": "nobody"}, "/model", "no model is named"),
    ({"version": "99"}, "/version", "no version '99'"),
    ({"input": {"dataset": "nothing"}}, "/input/dataset", "no dataset is named"),
    ({"input": {"dataset": "broken"}}, "/input/dataset", "line 3 has 2 cells"),
    ({"after": "nothing"}, "/after", "no job is named"),
    ({"input": {}}, "/input", "a dataset or a uri"),
    ({"input": {"dataset": "flowers", "uri": "https://example.com/a"}}, "/input", "one of both"),
    ({"input": {"dataset": "flowers", "delimiter": ";"}}, "/input/delimiter", "was found"),
    ({"input": {"uri": "http://169.254.169.254/"}}, "/input/uri", "not a public address"),
    ({"input": {"uri": "s3://lake/a.csv"}}, "/input/uri", "not open to this platform's own keys"),
    ({"input": {"uri": "file:///etc/passwd"}}, "/input/uri", "in no folder that is open"),
    ({"input": {"uri": "ftp://example.com/a"}}, "/input/uri", "must begin with"),
    ({"on_error": "limit"}, "/on_error/limit", "needs a limit"),
    ({"on_error": {"policy": "skip", "limit": 3}}, "/on_error/limit", "no limit"),
    ({"on_error": "ignore"}, "/on_error/policy", "pattern"),
    ({"output": {"name": "{month}"}}, "/output/name", "'{month}' has no value"),
    ({"output": {"name": "A b"}}, "/output/name", "lower-case letters"),
    ({"output": {"format": "xlsx"}}, "/output/format", "pattern"),
    ({"pass_through": 1}, "/pass_through", "a list"),
    ({"pass_through": ["id", "colour"]}, "/pass_through/1", "no column 'colour'"),
    ({"mapping": {"x": "aa"}}, "/mapping/x", "no column 'aa'"),
    ({"mapping": {"y": "a"}}, "/mapping/y", "not an input"),
    ({"mapping": {"x": ["a", "b"]}}, "/mapping/x", "2 columns are given for 4 places"),
    ({"mapping": {"x": []}}, "/mapping", "name of a column"),
    ({"mapping": {"x": 3}}, "/mapping", "name of a column"),
    ({"pass_through": []}, "/mapping", "no column feeds the model's 'x'"),
    ({"part": "de"}, "/part", "without parts"),
    ({"file_name": "../a.py"}, "/file_name", "without a folder"),
    ({"parallelism": 0}, "/parallelism", "greater than or equal"),
    ({"chunk_rows": 0}, "/chunk_rows", "greater than or equal"),
    ({"args": "a"}, "/args", "list"),
    ({"retries": {"count": -1}}, "/retries/count", "greater than or equal"),
    ({"timeout_s": 0}, "/timeout_s", "greater than or equal"),
    ({"resources": {"gpu": 1}}, "/resources/gpu", "no field 'gpu'"),
    ({"env": {"PATH": "x"}}, "/env/PATH", "cannot be set"),
    ({"kind": "notebook"}, "/kind", "pattern"),
    ({"schedule": {"cron": "* * * *"}}, "/schedule/cron", "five fields"),
    ({"name": "Flowers"}, "/name", "lower-case"),
    ({"input": {"dataset": "flowers"}, "mappings": {}}, "/mappings", "no field 'mappings'"),
)


async def test_what_does_not_fit_is_named(client: AsyncClient, context: Context) -> None:
    await add_dataset(context, "broken", move="fail")
    for more, pointer, words in UNFIT:
        answer = await client.post(JOBS, json={**FITTING, **more})
        assert 400 <= answer.status_code < 500, (more, answer.text)
        (first, *_) = answer.json()["errors"]
        assert first["pointer"] == pointer, more
        assert words in first["detail"], more
    assert (await client.get(JOBS)).json()["items"] == []


async def test_the_nearest_name_is_told(client: AsyncClient) -> None:
    answer = await client.post(JOBS, json={**FITTING, "pass_through": ["idd"]})
    assert answer.json()["errors"][0]["hint"] == "did you mean 'id'?"


async def test_thousands_of_wrong_names_hold_up_nobody(client: AsyncClient, context: Context) -> None:
    columns = [f"column-{number:05}-of-a-wide-table" for number in range(10_000)]
    await add_dataset(context, "wide", columns)
    wrong = [f"{name}s" for name in columns[:1500]]
    began = time.process_time()
    answer = await client.post(JOBS, json={**FIRST, "input": {"dataset": "wide"}, "pass_through": wrong})
    errors = answer.json()["errors"]
    assert (len(errors), errors[0]["hint"]) == (20, f"did you mean '{columns[0]}'?")
    assert time.process_time() - began < 3  # a quarter of an hour where each is compared with each


async def test_columns_that_are_not_known_yet_are_not_held_against_a_job(client: AsyncClient, context: Context) -> None:
    await add_dataset(context, "coming", move=None)
    assert (await client.post(JOBS, json={**FIRST, "input": {"dataset": "coming"}})).status_code == 201
    uri = {"uri": "https://example.com/a.tsv", "format": "tsv"}
    shown = (await make_job(client, "remote", input=uri, pass_through="*")).json()
    assert shown["input"] == {"uri": "https://example.com/a.tsv", "format": "csv", "delimiter": "\t"}
    assert shown["pass_through"] == "*"


async def test_names_of_columns_feed_what_they_are_mapped_to(client: AsyncClient) -> None:
    assert (await make_job(client, "a", mapping={"x": ["d", "c", "b", "a"]})).json()["mapping"]["x"][0] == "d"
    await client.patch("/api/v1/models/iris/versions/2", json={"features": {"x": ["a", "b", "c", "d"]}})
    await make_job(client, "b", pass_through=[])
    await make_job(client, "c", mapping={"a": "d", "d": "a"})
    is_problem(await client.post(JOBS, json={**FIRST, "mapping": {"aa": "a"}}), 422, "invalid_field")


async def test_a_name_is_taken_until_its_job_is_deleted(client: AsyncClient) -> None:
    await make_job(client)
    problem = is_problem(await client.post(JOBS, json=FITTING), 409, "name_taken")
    assert problem["holder"] == FLOWERS
    assert (await client.delete(FLOWERS)).status_code == 204
    is_problem(await client.get(FLOWERS), 404, "not_found")
    await make_job(client)


async def test_a_patch_merges_into_the_spec_and_null_gives_the_default_back(client: AsyncClient) -> None:
    await make_job(client, output={"name": "out", "format": "parquet"}, env={"A": "1", "B": "2"}, retries={"count": 3})
    before = (await client.get(FLOWERS)).json()
    patch = {
        "output": {"name": None, "compression": "zstd"},
        "on_error": {"policy": "limit", "limit": 9},
        "retries": {"backoff_s": 5},
        "resources": {"memory": "1Gi"},
        "env": {"A": None, "C": "3"},
        "description": "anew",
    }
    answer = await client.patch(FLOWERS, json=patch, headers={"If-Match": before["etag"]})
    shown = answer.json()
    assert shown["output"] == {"name": "{job}-{run}", "format": "parquet", "compression": "zstd", "replace": False}
    assert shown["on_error"] == {"policy": "limit", "limit": 9}
    assert shown["retries"] == {"count": 3, "backoff_s": 5}
    assert shown["resources"] == {"cpu": None, "memory": "1024Mi"}
    assert (shown["env_names"], shown["description"]) == (["B", "C"], "anew")
    assert shown["generation"] == before["generation"] + 1
    stale = await client.patch(FLOWERS, json={"version": "1"}, headers={"If-Match": before["etag"]})
    is_problem(stale, 412, "stale_etag")
    await client.patch(FLOWERS, json={"mapping": {"x": ["a", "b", "c", "d"]}})
    assert (await client.patch(FLOWERS, json={"mapping": {"x": None}})).json()["mapping"] == {}
    # Another policy, and another input, inherit nothing of the former.
    anew = (await client.patch(FLOWERS, json={"on_error": "fail", "input": {"uri": "https://example.com/a"}})).json()
    assert (anew["on_error"], anew["input"]) == ({"policy": "fail", "limit": None}, {"uri": "https://example.com/a"})
    assert anew["resources"]["memory"] == "1024Mi"


UNFIT_PATCHES: Sequence[tuple[Mapping[str, object], str]] = (
    ({"model": None}, "/model"),
    ({"input": None}, "/input"),
    ({"output": {"name": "B"}}, "/output/name"),
    ({"output": {"colour": 1}}, "/output/colour"),
    ({"name": "other"}, "/name"),
    ({"mapping": {"y": "a"}}, "/mapping/y"),
    ({"version": "99"}, "/version"),
    ({"env": {"PATH": "x"}}, "/env/PATH"),
    ({"after": "flowers"}, "/after"),
)


async def test_a_patch_is_checked_as_a_whole(client: AsyncClient) -> None:
    before = (await make_job(client)).json()
    for patch, pointer in UNFIT_PATCHES:
        answer = await client.patch(FLOWERS, json=patch)
        assert 400 <= answer.status_code < 500, (patch, answer.text)
        assert answer.json()["errors"][0]["pointer"] == pointer, patch
    assert (await client.get(FLOWERS)).json() == before


async def test_jobs_do_not_follow_each_other_in_a_circle(client: AsyncClient) -> None:
    await make_job(client)
    await make_job(client, "second", after="flowers")
    shown = (await make_job(client, "third", after="second")).json()
    assert shown["after"] == "second"
    # What the job before makes need not be there yet; by hand it cannot be run without.
    later = (await make_job(client, "fourth", after="flowers", input={"dataset": "scored"})).json()
    assert later["input"] == {"dataset": "scored"}
    is_problem(await client.post(f"{JOBS}/fourth:run"), 404, "not_found")
    assert (await client.patch(f"{JOBS}/fourth", json={"parallelism": 2})).status_code == 200
    is_problem(await client.patch(f"{JOBS}/fourth", json={"after": None, "parallelism": 3}), 404, "not_found")
    await client.delete(f"{JOBS}/fourth")
    problem = is_problem(await client.patch(FLOWERS, json={"after": "third"}), 422, "invalid_field")
    assert "runs after this job" in str(problem["detail"])
    problem = is_problem(await client.delete(FLOWERS), 409, "in_use")
    assert problem["jobs"] == [f"{JOBS}/second"]
    assert (await client.patch(f"{JOBS}/second", json={"after": None})).json()["after"] is None
    assert (await client.delete(FLOWERS)).status_code == 204


async def test_what_a_job_needs_is_not_deleted(client: AsyncClient) -> None:
    await make_job(client, version="2")
    models = "/api/v1/models/iris"
    for path in (models, f"{models}?cascade=true", f"{models}?dry_run=true", f"{models}/versions/2"):
        problem = is_problem(await client.delete(path), 409, "in_use")
        assert problem["jobs"] == [FLOWERS]
    assert (await client.delete(f"{models}/versions/1")).status_code == 204
    assert (await client.delete(FLOWERS)).status_code == 204
    assert (await client.delete(models)).status_code == 204


async def test_lists_leave_out_what_may_be_large_of_a_spec(client: AsyncClient) -> None:
    large: dict[str, Any] = {"mapping": {"x": list("abcd")}, "pass_through": ["id"], "args": ["a" * 1000]}
    made = (await make_job(client, **large)).json()
    assert {name: made[name] for name in large} == large
    await make_run(client)
    run = (await client.get(f"{FLOWERS}/runs/1")).json()
    assert ({name: run["spec"][name] for name in large}, run["args"]) == (large, large["args"])
    nothing = dict.fromkeys(large)
    assert (await client.get(JOBS)).json()["items"] == [{**(await client.get(FLOWERS)).json(), **nothing}]
    for path in (f"{FLOWERS}/runs", "/api/v1/runs"):
        assert (await client.get(path)).json()["items"] == [
            {**run, "args": None, "spec": {**run["spec"], **nothing}},
        ]


async def test_jobs_are_filtered_by_model_and_belong_to_their_tenant(client: AsyncClient, context: Context) -> None:
    await make_job(client)
    assert len((await client.get(f"{JOBS}?model=iris&name.prefix=fl")).json()["items"]) == 1
    assert (await client.get(f"{JOBS}?model=wine")).json()["items"] == []
    other = await add_user(context, "acme", "eve")
    assert (await client.get(JOBS, headers=other)).json()["items"] == []
    for path in (FLOWERS, f"{FLOWERS}/runs", f"{FLOWERS}/history", "/api/v1/jobs/flowers/runs/1"):
        is_problem(await client.get(path, headers=other), 404, "not_found")
    is_problem(await client.post(f"{FLOWERS}:run", headers=other), 404, "not_found")


async def test_a_job_with_runs_under_way_is_deleted_only_with_them(client: AsyncClient) -> None:
    await make_job(client)
    await make_run(client)
    await make_run(client)
    problem = is_problem(await client.delete(FLOWERS), 409, "in_use")
    assert problem["runs"] == [f"{FLOWERS}/runs/1", f"{FLOWERS}/runs/2"]
    answer = await client.delete(f"{FLOWERS}?cascade=true")
    assert (answer.status_code, answer.json()["kind"]) == (202, "job.delete")
    shown = (await client.get(FLOWERS)).json()
    assert (shown["status"], shown["operation"]) == ("deleting", answer.headers["operation-location"])
    assert [run["status"] for run in (await client.get(f"{FLOWERS}/runs")).json()["items"]] == ["stopping"] * 2
    is_problem(await client.post(f"{FLOWERS}:run"), 404, "not_found")
    is_problem(await client.patch(FLOWERS, json={"version": "1"}), 404, "not_found")
