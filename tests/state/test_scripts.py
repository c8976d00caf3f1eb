"""Scripts beneath the API: their reports, tokens and files; the same on both databases."""

import asyncio

import pytest
from sqlalchemy import select

from core.clock import now_micros
from core.ids import new_id
from state.artifacts import RunFile, add_inputs, all_inputs, files_of_run, forget_inputs, keep_files
from state.blobs import touch_blob
from state.database import Database
from state.history import begin
from state.jobtables import Job, Run
from state.migrate import DEFAULT_TENANT
from state.queries.needs import read_reference
from state.queries.tokens import grants
from state.reports import (
    Far,
    NoReport,
    Report,
    RunNotRunning,
    add_reports,
    last_report,
    note_far,
    reported,
    reports_of,
)
from state.runplacing import ProcessGone, begin_process, end_process, give_token, name_process, see_run, want_run
from state.runspecs import RunSpec
from state.sweeping import doom
from state.tables import Blob
from tests.state.rows import TEST
from tests.state.test_runplacing import SPEC, make_run, row_of


async def script(database: Database, *, is_named: bool = True) -> tuple[Run, int]:
    """A run whose process is about to start, or runs."""
    run = await make_run(database)
    kept = {**SPEC, "run_id": run.id, "generation": 1, "attempt": 0, "kind": "script", "script": {"entry": "main.py"}}
    async with database.write() as session:
        await want_run(session, RunSpec(**kept))
    row = await row_of(database, run)
    async with database.write() as session:
        await begin_process(session, row, "/log")
        await give_token(session, run.id, row.epoch + 1, f"hash of {run.id}")
    if is_named:
        async with database.write() as session:
            await name_process(session, run.id, row.epoch + 1, 4711, "then", "boot")
    return run, row.epoch + 1


async def blob(database: Database, letter: str) -> RunFile:
    digest = f"sha256:{letter * 64}"
    async with database.write() as session:
        await touch_blob(session, digest, 3)
    return RunFile(f"{letter}.csv", digest, 3)


async def test_reports_are_numbered_in_the_order_in_which_they_come_from_both_doors(database: Database) -> None:
    run, epoch = await script(database)

    async def report(step: int, told: int | None) -> None:
        async with database.write() as session:
            await add_reports(session, run.id, [Report({"loss": step}, step), Report({"loss": -step}, step)], told)

    await asyncio.gather(*(report(step, epoch if step % 2 else None) for step in range(6)))
    async with database.read() as session:
        rows = await reports_of(session, run.id)
        assert [row.sequence for row in rows] == list(range(1, 13))
        assert all(a.values["loss"] == -b.values["loss"] for a, b in zip(rows[::2], rows[1::2], strict=True))
        assert [row.sequence for row in await reports_of(session, run.id, after=10)] == [11, 12]
        assert await last_report(session, run.id) == 12


async def test_only_a_running_process_reports(database: Database) -> None:
    run, epoch = await script(database)
    async with database.write() as session:
        with pytest.raises(RunNotRunning):
            await add_reports(session, run.id, [Report({"a": 1})], epoch + 1)
        await note_far(session, run.id, {"percent": 40.0, "detail": "epoch 4"}, epoch)
    async with database.write() as session:
        await end_process(session, run.id, epoch, {"outcome": "finished"})
    async with database.write() as session:
        with pytest.raises(RunNotRunning):
            await add_reports(session, run.id, [Report({"a": 1})])
    async with database.read() as session:
        shown = (await see_run(session, run.id)).progress or {}
        assert (shown["percent"], shown["detail"]) == (40.0, "epoch 4")


async def test_a_token_lives_as_long_as_its_process(database: Database) -> None:
    run, epoch = await script(database, is_named=False)
    async with database.read() as session:
        grant = (await grants(session))[f"hash of {run.id}"]
    assert (grant.role, grant.run_id, grant.actor) == ("member", run.id, f"run:{run.job_name}/1")
    async with database.write() as session:
        await end_process(session, run.id, epoch, None)
    async with database.read() as session:
        assert f"hash of {run.id}" not in await grants(session)
    async with database.write() as session:
        with pytest.raises(ProcessGone):
            await give_token(session, run.id, epoch - 1, "another")


async def test_what_a_try_left_takes_the_place_of_what_was_left_before(database: Database) -> None:
    run, epoch = await script(database)
    first, second, read = [await blob(database, letter) for letter in "abc"]
    async with database.write() as session:
        await add_inputs(session, run.id, [read])
        await keep_files(session, run.id, epoch, "output", [first])
    async with database.write() as session:
        await keep_files(session, run.id, epoch, "output", [second])
        with pytest.raises(ProcessGone):
            await keep_files(session, run.id, epoch + 1, "output", [first])
    async with database.write() as session:
        assert await all_inputs(session, run.id) == [read]
        await forget_inputs(session, run.id)
        assert await all_inputs(session, run.id) == []
        assert [row.path for row in await files_of_run(session, run.id, "output")] == ["b.csv"]


async def test_what_was_made_of_a_file_is_remembered_while_a_try_leaves_the_same(database: Database) -> None:
    run, epoch = await script(database)
    same, other = await blob(database, "a"), await blob(database, "b")

    async def left(digest: str) -> str | None:
        async with database.write() as session:
            await keep_files(session, run.id, epoch, "output", [RunFile("model.onnx", digest, 3)])
        async with database.write() as session:
            [row] = await files_of_run(session, run.id, "output")
            before, row.made_id = row.made_id, "ver_1"
        return before

    assert [await left(digest) for digest in (same.digest, same.digest, other.digest)] == [None, "ver_1", None]


async def test_the_sweeper_leaves_what_jobs_and_runs_of_scripts_have(database: Database) -> None:
    run, epoch = await script(database)
    kept, text, nobodys = [await blob(database, letter) for letter in "def"]
    now = now_micros()
    async with database.write() as session:
        await keep_files(session, run.id, epoch, "checkpoint", [kept])
        job = Job(id=new_id("job"), tenant_id=DEFAULT_TENANT, created_at=now, updated_at=now, tags=[], name="script")
        job.kind, job.spec, job.env_names, job.script_digest = "script", {}, [], text.digest
        await begin(session, job, TEST)
        await doom(session, now_micros() + 1)
        doomed = set(await session.scalars(select(Blob.digest).where(Blob.doomed_at.is_not(None))))
    assert nobodys.digest in doomed
    assert not {kept.digest, text.digest} & doomed


@pytest.mark.parametrize(
    ("reference", "means"),
    [("iris", ("iris", "latest")), ("iris/3", ("iris", "3")), ("iris@prod", ("iris", "@prod"))],
)
def test_a_reference_names_a_model_and_perhaps_a_version(reference: str, means: tuple[str, str]) -> None:
    assert read_reference(reference) == means


def test_reports_are_believed_in_nothing() -> None:
    assert reported({"values": {"a\x00b": 1, "c": "\ud800"}}) == Report({"ab": 1, "c": "?"})
    assert reported({"type": "progress", "percent": 7}) == Far(7.0, None)
    far = [{"type": "progress", "percent": given} for given in (101, True, "40", None)]
    plain: tuple[object, ...] = (
        [],
        {},
        {"values": {}},
        {"values": {"a": {}}},
        {"type": "chunk"},
        {"values": {"a": 1}, "step": 1.5},
    )
    for document in (*plain, *far):
        with pytest.raises(NoReport):
            reported(document)
