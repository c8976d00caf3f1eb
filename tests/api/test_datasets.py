"""Datasets over the API: uploaded, described, listed, shown, downloaded, previewed and deleted; no worker runs here."""

import io
import json
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx2 import AsyncClient, Response

from api.dependencies import Context
from core.clock import now_micros
from core.errors import Json
from core.ids import new_id
from state.blobs import touch_blob
from state.claims import take
from state.database import WriteSession
from state.datasets import hold_dataset
from state.datatables import Dataset
from state.endings import Locked, fail, lock_held, succeed
from state.history import By, begin
from state.jobtables import Job, Run
from state.publishing import Output, publish_dataset
from state.queries.datasets import Piece
from state.sweeping import doom, forget_former_parts
from tests.api.catalogue import left_behind
from tests.api.platform import LOCAL, add_user, is_problem
from workers.describing import refusal_of
from workers.previews import cut_preview

V1 = "/api/v1"
CSV = b"age,job\n41,clerk\n7,\n"
COLUMNS = [
    {"name": "age", "type": "int64", "arrow_type": "int64", "nullable": True, "nulls": 0, "min": 7, "max": 41},
    {"name": "job", "type": "string", "arrow_type": "string", "nullable": True, "nulls": 1, "min": "clerk"},
]
LAYOUT: dict[str, Any] = {"format": "csv", "compression": None, "delimiter": ","}


async def upload(client: AsyncClient, name: str = "people", content: bytes = CSV, disposition: str = "") -> Response:
    headers = {"content-type": "text/csv", "content-disposition": disposition}
    answer = await client.post(f"{V1}/datasets?name={name}", content=content, headers=headers)
    assert answer.status_code == 202, answer.text
    return answer


async def stored(context: Context, content: bytes) -> str:
    async def pieces() -> AsyncIterator[bytes]:
        yield content

    return str((await context.store.put(pieces())).digest)


async def touched(context: Context, content: bytes) -> Piece:
    """The bytes in the store, and known there."""
    digest = await stored(context, content)
    async with context.database.write() as session:
        await touch_blob(session, digest, len(content))
    return Piece(digest, len(content), 1)


async def describe(
    context: Context, rows: int = 2, problem: dict[str, Any] | None = None, preview: bytes | None = None
) -> None:
    """End the creation that is due as the worker would."""
    taken = await take(context.database, "fetch", "worker", 10_000_000)
    assert taken is not None
    kept = await touched(context, preview or cut_preview(["age", "job"], [[41, "clerk"], [7, None]]))

    async def end(session: WriteSession, work: Locked) -> None:
        if problem is not None:
            await fail(session, work, By("worker"), problem)
            return
        found = {"format": "csv", "layout": LAYOUT, "rows": rows, "rows_are_estimated": False, "columns": COLUMNS}
        found |= {"column_count": len(COLUMNS), "warnings": [], "preview_digest": kept.digest}
        await succeed(session, work, By("worker"), result={}, row={}, target=found)

    async with context.database.write() as session:
        await end(session, await lock_held(session, *taken))


async def ready(client: AsyncClient, context: Context, name: str = "people", content: bytes = CSV) -> None:
    await upload(client, name, content)
    await describe(context)


async def test_an_upload_is_a_dataset_that_is_described(client: AsyncClient, context: Context) -> None:
    accepted = (await upload(client, disposition='attachment; filename="a/people.csv"')).json()
    assert (accepted["kind"], accepted["target"]["name"]) == ("dataset.create", "people")
    shown = (await client.get(f"{V1}/datasets/people")).json()
    assert (shown["status"], shown["size_bytes"], shown["filename"]) == ("creating", len(CSV), "people.csv")
    assert (shown["columns"], shown["rows"]) == (None, None)
    await describe(context)
    shown = (await client.get(f"{V1}/datasets/people")).json()
    assert (shown["status"], shown["rows"], shown["format"]) == ("ready", 2, "csv")
    assert [column["nulls"] for column in shown["columns"]] == [0, 1]
    assert shown["id"].startswith("dts_")


async def test_a_form_says_what_is_known_of_the_format(client: AsyncClient, context: Context) -> None:
    said = {"name": "people", "delimiter": "tab", "has_header": "false", "tags": "a,b", "null_values": "NA,-"}
    answer = await client.post(f"{V1}/datasets", data=said, files={"file": ("p.tsv", b"1\t2\n")})
    assert answer.status_code == 202, answer.text
    async with context.database.write() as session:
        row = await hold_dataset(session, LOCAL, "people")
    assert row.hints == {"delimiter": "\t", "has_header": False, "null_values": ["NA", "-"]}
    assert (row.tags, row.filename) == (["a", "b"], "p.tsv")


@pytest.mark.parametrize(
    ("query", "headers", "status", "pointer"),
    [
        ("", {}, 422, "/name"),
        ("?name=A", {}, 422, "/name"),
        ("?name=a&delimiter=ab", {}, 422, "/delimiter"),
        ("?name=a&format=xml", {}, 422, "/format"),
        ("?name=a&quoting=x", {}, 422, "/quoting"),
        ("?name=a&has_header=perhaps", {}, 422, "/has_header"),
        ("?name=a", {"content-type": "application/x-www-form-urlencoded"}, 415, None),
    ],
)
async def test_what_cannot_be_meant_is_refused_before_a_byte_is_kept(
    client: AsyncClient, context: Context, query: str, headers: dict[str, str], status: int, pointer: str | None
) -> None:
    sent = {"content-type": "text/csv", **headers}
    answer = await client.post(f"{V1}/datasets{query}", content=CSV, headers=sent)
    assert answer.status_code == status, answer.text
    assert pointer is None or answer.json()["errors"][0]["pointer"] == pointer
    assert await left_behind(context) == []


async def test_a_file_uri_that_is_none_is_refused(client: AsyncClient) -> None:
    answer = await client.post(f"{V1}/datasets", json={"name": "a", "source_uri": "file://[x/"})
    is_problem(answer, 422, "invalid_field")
    assert answer.json()["errors"][0]["pointer"] == "/source_uri"


async def test_a_taken_name_is_told_before_the_bytes_are_kept(client: AsyncClient, context: Context) -> None:
    await upload(client)
    before = await left_behind(context)
    form = await client.post(f"{V1}/datasets", data={"name": "people"}, files={"file": ("b.csv", b"b\n1\n")})
    problem = is_problem(form, 409, "name_taken")
    assert problem["holder"] == f"{V1}/datasets/people"
    assert await left_behind(context) == before


async def test_what_the_description_refuses_names_the_line_and_can_be_copied_with_hints(
    client: AsyncClient, context: Context
) -> None:
    await upload(client)
    refused: dict[str, Json] = {
        "message": "row 3 has 5 cells, not 4",
        "hint": "quote the cell",
        "line": 4,
        "column": None,
    }
    await describe(context, problem=refusal_of(refused, "/file").as_problem())
    shown = (await client.get(f"{V1}/datasets/people")).json()
    assert (shown["status"], shown["reason"]) == ("failed", "dataset_invalid")
    assert shown["message"] == "line 4: row 3 has 5 cells, not 4; quote the cell"
    operation = (await client.get(f"{V1}/operations?target_name=people")).json()["items"][0]
    assert (operation["error"]["line"], operation["error"]["errors"][0]["pointer"]) == (4, "/file")
    again = await client.post(f"{V1}/operations/{operation['id']}:retry")
    is_problem(again, 409, "not_retryable")
    copy = await client.post(f"{V1}/datasets", json={"name": "mended", "dataset": "people", "delimiter": ";"})
    assert copy.status_code == 202, copy.text
    is_problem(
        await client.post(f"{V1}/datasets", json={"name": "same", "dataset": "people"}), 409, "dataset_not_ready"
    )
    is_problem(await client.get(f"{V1}/datasets/people/preview"), 409, "dataset_not_ready")


async def test_a_crash_of_the_description_can_be_tried_again(client: AsyncClient, context: Context) -> None:
    await upload(client)
    await describe(context, problem={"code": "description_failed", "detail": "signal 11", "title": "", "status": 422})
    operation = (await client.get(f"{V1}/operations?target_name=people")).json()["items"][0]
    assert (await client.post(f"{V1}/operations/{operation['id']}:retry")).status_code == 202
    await describe(context)
    assert (await client.get(f"{V1}/datasets/people")).json()["status"] == "ready"


async def test_the_data_come_back_whole_or_in_ranges(client: AsyncClient, context: Context) -> None:
    await ready(client, context)
    whole = await client.get(f"{V1}/datasets/people/content")
    assert (whole.content, whole.headers["content-type"]) == (CSV, "text/csv; charset=utf-8")
    assert 'filename="people.csv"' in whole.headers["content-disposition"]
    part = await client.get(f"{V1}/datasets/people/content", headers={"range": "bytes=4-6"})
    assert (part.status_code, part.content) == (206, CSV[4:7])
    tag = {"if-none-match": whole.headers["etag"]}
    assert (await client.get(f"{V1}/datasets/people/content", headers=tag)).status_code == 304
    is_problem(await client.get(f"{V1}/datasets/people/content?part=2"), 422, "invalid_field")


async def test_the_first_rows_and_the_columns_are_told(client: AsyncClient, context: Context) -> None:
    await ready(client, context)
    preview = (await client.get(f"{V1}/datasets/people/preview?rows=1")).json()
    assert preview == {
        "columns": ["age", "job"],
        "rows": [[41, "clerk"]],
        "total_rows": 2,
        "rows_are_estimated": False,
    }
    columns = (await client.get(f"{V1}/datasets/people/columns")).json()["items"]
    assert [(each["name"], each["min"], each["max"]) for each in columns] == [("age", 7, 41), ("job", "clerk", None)]
    is_problem(await client.get(f"{V1}/datasets/people/preview?rows=501"), 422, "invalid_field")


async def test_as_many_first_rows_are_told_as_are_asked_for(client: AsyncClient, context: Context) -> None:
    await upload(client)
    rows: list[list[Json]] = [[number, "]}\n,\u0000 \u2028ü"] for number in range(3)]
    await describe(context, preview=cut_preview(["age", "job"], rows))
    for asked in (1, 2, 3, 500):
        answer = await client.get(f"{V1}/datasets/people/preview?rows={asked}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json()["rows"] == rows[:asked]


async def test_a_preview_without_rows_has_its_columns(client: AsyncClient, context: Context) -> None:
    await upload(client)
    await describe(context, rows=0, preview=cut_preview(["age", "job"], []))
    preview = (await client.get(f"{V1}/datasets/people/preview")).json()
    assert (preview["columns"], preview["rows"], preview["total_rows"]) == (["age", "job"], [], 0)


async def test_a_list_tells_how_many_columns_there_are_and_reads_none(client: AsyncClient, context: Context) -> None:
    await ready(client, context)
    await upload(client, "others")
    shown = {each["name"]: each for each in (await client.get(f"{V1}/datasets")).json()["items"]}
    assert (shown["people"]["column_count"], shown["people"]["columns"]) == (2, None)
    assert shown["people"]["layout"] == LAYOUT
    assert shown["others"]["column_count"] is None
    alone = (await client.get(f"{V1}/datasets/people")).json()
    assert alone["columns"][0]["name"] == "age"
    assert {**alone, "columns": None} == shown["people"]


async def test_lists_are_filtered_and_a_patch_changes_what_is_said(client: AsyncClient, context: Context) -> None:
    await ready(client, context)
    await upload(client, "others")
    ids = [each["name"] for each in (await client.get(f"{V1}/datasets?status=ready&rows.ge=2")).json()["items"]]
    assert ids == ["people"]
    changed = await client.patch(f"{V1}/datasets/people", json={"description": "said", "tags": ["x"]})
    assert (changed.json()["description"], changed.json()["generation"]) == ("said", 1)
    stale = await client.patch(f"{V1}/datasets/people", json={"tags": None}, headers={"if-match": '"1"'})
    is_problem(stale, 412, "stale_etag")
    moves = [each["move"] for each in (await client.get(f"{V1}/datasets/people/history")).json()["items"]]
    assert moves == ["ready", "create"]


async def test_a_deleted_dataset_frees_its_name_and_its_bytes(client: AsyncClient, context: Context) -> None:
    operation = (await upload(client)).json()["id"]
    assert (await client.delete(f"{V1}/datasets/people")).status_code == 204
    ended = (await client.get(f"{V1}/operations/{operation}")).json()
    assert (ended["status"], bool(ended["superseded_by"])) == ("canceled", True)
    is_problem(await client.get(f"{V1}/datasets/people"), 404, "not_found")
    async with context.database.write() as session:
        assert await doom(session, 2**62) == 1
    await upload(client)


async def test_another_tenants_dataset_is_nowhere(client: AsyncClient, context: Context) -> None:
    await ready(client, context)
    other = await add_user(context, "acme", "ann")
    for path in ("", "/content", "/preview", "/columns", "/history"):
        is_problem(await client.get(f"{V1}/datasets/people{path}", headers=other), 404, "not_found")
    is_problem(await client.delete(f"{V1}/datasets/people", headers=other), 404, "not_found")
    copied = await client.post(f"{V1}/datasets", json={"name": "mine", "dataset": "people"}, headers=other)
    is_problem(copied, 404, "not_found")


async def test_a_copy_has_the_same_bytes_and_is_ready_at_once(client: AsyncClient, context: Context) -> None:
    await ready(client, context)
    copy = await client.post(f"{V1}/datasets", json={"name": "copy", "dataset": "people"})
    assert (copy.status_code, copy.json()["status"], copy.json()["rows"]) == (201, "ready", 2)
    assert (await client.delete(f"{V1}/datasets/people")).status_code == 204
    assert (await client.get(f"{V1}/datasets/copy/content")).content == CSV
    assert (await client.get(f"{V1}/datasets/copy/preview")).json()["rows"][1] == [7, None]


async def add_run(context: Context, dataset_id: str) -> Run:
    """A live run that reads the dataset."""
    now = now_micros()
    common = {"tenant_id": LOCAL.tenant_id, "created_at": now, "updated_at": now, "tags": [], "env_names": []}
    job = Job(id=new_id("job"), name=f"j{new_id('x')[-10:]}", kind="batch", spec={}, **common)
    run = Run(id=new_id("run"), job_id=job.id, job_name=job.name, number=4, name="", kind="batch", **common)
    run.trigger, run.spec, run.dataset_id = "manual", {}, dataset_id
    async with context.database.write() as session:
        await begin(session, job, By("test"))
        await begin(session, run, By("test"))
    return run


async def test_what_is_only_a_reference_is_not_sent_and_the_secrets_of_its_url_are_not_told(
    client: AsyncClient,
) -> None:
    body = {"name": "linked", "source_uri": "https://data.example.com/a.csv?signature=secret", "reference": True}
    assert (await client.post(f"{V1}/datasets", json=body)).status_code == 202
    answer = await client.get(f"{V1}/datasets/linked/content")
    is_problem(answer, 409, "by_reference")
    assert "secret" not in answer.text


async def test_a_dataset_that_a_run_reads_is_not_deleted(client: AsyncClient, context: Context) -> None:
    await ready(client, context)
    dataset = (await client.get(f"{V1}/datasets/people")).json()["id"]
    run = await add_run(context, dataset)
    problem = is_problem(await client.delete(f"{V1}/datasets/people"), 409, "in_use")
    assert problem["runs"] == [f"{V1}/jobs/{run.job_name}/runs/4"]


async def publish(context: Context, run_id: str, *contents: bytes, **said: Any) -> Dataset:
    pieces = [await touched(context, content) for content in contents]
    given = {"name": "scored", "number": 4, "role": "output", "format": "csv", **said}
    output = Output(run_id=run_id, pieces=pieces, layout=LAYOUT, columns=COLUMNS, rows=len(pieces), **given)
    async with context.database.write() as session:
        return await publish_dataset(session, LOCAL.tenant_id, output, By("worker"))


async def test_what_a_run_wrote_is_one_file_of_its_parts(client: AsyncClient, context: Context) -> None:
    first = await publish(context, "run_1", b"age,job\n1,a\n", b"2,b\n", b"", b"3,c\n")
    again = await publish(context, "run_1", b"age,job\n1,a\n", b"2,b\n", b"", b"3,c\n")
    assert (first.id, first.name) == (again.id, "scored")
    whole = await client.get(f"{V1}/datasets/scored/content")
    assert whole.content == b"age,job\n1,a\n2,b\n3,c\n"
    for start, stop in ((0, 1), (10, 14), (11, 12), (12, 16), (15, 20), (19, 20)):
        part = await client.get(f"{V1}/datasets/scored/content", headers={"range": f"bytes={start}-{stop - 1}"})
        assert (part.status_code, part.content) == (206, whole.content[start:stop])
    assert (await client.get(f"{V1}/datasets/scored/content?part=2")).content == b"2,b\n"
    assert (await client.get(f"{V1}/datasets/scored/preview")).json()["rows"] == []
    events = (await client.get(f"{V1}/events?type=dataset.ready")).json()["items"]
    assert len(events) == 1


async def test_another_runs_name_gets_a_number_unless_it_is_to_be_replaced(
    client: AsyncClient, context: Context
) -> None:
    first = await publish(context, "run_1", b"a\n1\n")
    beside = await publish(context, "run_2", b"a\n2\n")
    assert beside.name == "scored-4"
    assert (await publish(context, "run_3", b"a\n3\n")).name == "scored-4-1"
    replaced = await publish(context, "run_5", b"a\n5\n", b"6\n", replace=True)
    assert (replaced.id, replaced.generation) == (first.id, 2)
    assert (await client.get(f"{V1}/datasets/scored/content")).content == b"a\n5\n6\n"
    assert (await publish(context, "run_5", b"a\n5\n", b"6\n", replace=True)).generation == 2


async def test_a_run_reads_the_parts_that_it_began_with_to_its_end(client: AsyncClient, context: Context) -> None:
    first = await publish(context, "run_1", b"a\n1\n", b"2\n")
    await add_run(context, first.id)
    await publish(context, "run_2", b"a\n9\n", replace=True)
    await publish(context, "run_3", b"a\n8\n", replace=True)
    async with context.database.write() as session:
        assert await forget_former_parts(session) == 0
        assert await doom(session, 2**62) == 0
    assert (await client.get(f"{V1}/datasets/scored/content")).content == b"a\n8\n"


async def test_several_files_that_do_not_join_come_in_an_archive_or_one_by_one(
    client: AsyncClient, context: Context
) -> None:
    await publish(context, "run_1", b"PAR1 one", b"", b"PAR1 two", format="parquet")
    whole = await client.get(f"{V1}/datasets/scored/content")
    assert int(whole.headers["content-length"]) == len(whole.content)
    with zipfile.ZipFile(io.BytesIO(whole.content)) as archive:
        assert archive.testzip() is None
        assert [(each.filename, archive.read(each)) for each in archive.infolist()] == [
            ("scored-00001.parquet", b"PAR1 one"),
            ("scored-00002.parquet", b""),
            ("scored-00003.parquet", b"PAR1 two"),
        ]
    tag = {"if-none-match": whole.headers["etag"]}
    assert (await client.get(f"{V1}/datasets/scored/content", headers=tag)).status_code == 304
    assert (await client.get(f"{V1}/datasets/scored/content?part=3")).content == b"PAR1 two"


async def test_the_same_key_makes_one_dataset_whatever_the_boundary(client: AsyncClient) -> None:
    ids = set()
    for _ in range(2):
        files, headers = {"file": ("p.csv", CSV)}, {"idempotency-key": "once"}
        answer = await client.post(f"{V1}/datasets", data={"name": "people"}, files=files, headers=headers)
        assert answer.status_code == 202, answer.text
        ids.add(answer.json()["id"])
    assert len(ids) == 1


async def test_webhooks_are_told_what_became_of_a_dataset(client: AsyncClient, context: Context) -> None:
    wanted = {"url": "https://example.com/", "events": ["dataset.ready", "dataset.failed"]}
    webhook = (await client.post(f"{V1}/webhooks", json=wanted)).json()["id"]
    await ready(client, context)
    await upload(client, "torn")
    await describe(context, problem=refusal_of({"message": "it is torn"}, "/file").as_problem())
    told = (await client.get(f"{V1}/webhooks/{webhook}/deliveries")).json()["items"]
    bodies = [json.loads(each["body"]) if "body" in each else each for each in reversed(told)]
    assert [each.get("type") or each["event_type"] for each in bodies] == ["dataset.ready", "dataset.failed"]
    event = (await client.get(f"{V1}/events?type=dataset.failed")).json()["items"][0]
    assert (event["data"]["name"], event["data"]["url"]) == ("torn", "/api/v1/datasets/torn")
