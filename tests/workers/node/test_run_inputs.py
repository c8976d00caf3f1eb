"""What a run reads beside the parts of a dataset: a reference, fetched as it was described, and a dataset of files."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.clock import now_micros
from core.ids import new_id
from state.advance import advance, lock
from state.database import WriteSession
from state.datasets import replace_parts
from state.datatables import Dataset, DatasetFile
from state.history import begin
from state.inputs import InputFile, inputs_of
from state.jobtables import Run
from state.ledger import Mark, Tally
from state.resolving import resolve
from state.runspecs import run_spec
from state.settling import settle
from tests.workers.node.runworld import FINAL, RunWorld, open_run_world
from tests.workers.node.world import VAULT
from tests.workers.runrows import FIELDS, LAYOUT, TEST, numbers
from workers.node.runprogram import Beginning, RunPlace, batch_scorer, prepare_run


@pytest.fixture
async def runs(data: Path, tmp_path: Path) -> AsyncIterator[RunWorld]:
    """A platform that may read the test's own folder."""
    async with open_run_world(data, file_roots=(str(tmp_path),)) as opened:
        yield opened


async def refer(runs: RunWorld, source: Path | str, etag: str, name: str = "numbers") -> Dataset:
    """A dataset that is only a reference to a file, or to what a URL gives."""
    now = now_micros()
    row = Dataset(
        id=new_id("dts"),
        name=name,
        kind="table",
        hints={},
        source_uri=source if isinstance(source, str) else f"file://{source}",
        source_etag=etag,
        is_reference=True,
        format="csv",
        layout=dict(LAYOUT),
        created_at=now,
        updated_at=now,
        **FIELDS,
    )
    async with runs.database.write() as session:
        await begin(session, row, TEST)
        await advance(session, row, "ready", TEST)
    return row


async def etag_of(file: Path) -> str:
    found = file.stat()  # noqa: ASYNC240  (a test's own small file)
    return f'"{found.st_mtime_ns:x}-{found.st_size:x}"'


async def test_a_reference_is_fetched_for_the_run_and_let_go_at_its_end(runs: RunWorld, tmp_path: Path) -> None:
    file = tmp_path / "numbers.csv"
    file.write_bytes(numbers(300))
    await runs.ground.version()
    await refer(runs, file, await etag_of(file))
    run = await runs.until(await runs.ground.run(await runs.ground.job()), *FINAL)
    assert run.status == "succeeded", run.error
    assert (await runs.ground.output(run) or b"").count(b"\n") == 301
    async with runs.database.write() as session:
        await settle(session, run.id)
        assert await inputs_of(session, run.id) == []


async def test_a_reference_whose_source_is_another_by_now_fails_the_run(runs: RunWorld, tmp_path: Path) -> None:
    file = tmp_path / "numbers.csv"
    file.write_bytes(numbers(300))
    await runs.ground.version()
    await refer(runs, file, '"another"')
    run = await runs.until(await runs.ground.run(await runs.ground.job()), *FINAL)
    assert (run.status, run.reason) == ("failed", "source_changed")


async def add_files(session: WriteSession, dataset: Dataset, digest: str, paths: list[str]) -> None:
    for path in paths:
        told = {"digest": digest, "size_bytes": 5, "content_type": "image/png", "created_at": now_micros()}
        session.add(DatasetFile(dataset_id=dataset.id, path=path, **told))
    await session.flush()


async def test_a_dataset_of_files_is_a_folder_as_it_was_when_the_run_began(runs: RunWorld, tmp_path: Path) -> None:
    await runs.ground.version()
    dataset = await runs.ground.dataset(b"id,x\n")
    digest = await runs.ground.put(b"image")
    await runs.host.stop(0)
    run = await runs.ground.run(await runs.ground.job())
    async with runs.database.write() as session:
        row = await lock(session, Dataset, dataset.id)
        row.kind, row.layout, row.format, row.files = "files", None, None, 2
        await replace_parts(session, row, [])
        await add_files(session, dataset, digest, ["b/two.png", "a.png"])
        held = await lock(session, Run, run.id)
        await resolve(session, held)
    async with runs.database.write() as session:
        await add_files(session, dataset, digest, ["c.png"])  # too late for this run
    async with runs.database.read() as session:
        files = await inputs_of(session, run.id)
    assert files == [InputFile("a.png", digest, 5), InputFile("b/two.png", digest, 5)]
    assert held.resolved is not None
    assert held.resolved["output"]["format"] == "csv"
    place = RunPlace(tmp_path / "place", tmp_path / "log", tmp_path, 0)
    beginning, command = Beginning(Mark(Tally(), None), None, files), batch_scorer(runs.world.settings)
    program = await prepare_run(run_spec(held, 1), beginning, place, runs.world.cache, VAULT, command)
    plan = json.loads((place.folder / "plan.json").read_text("utf-8"))
    assert plan["input"]["kind"] == "files"
    listed = [json.loads(line) for line in Path(plan["input"]["list"]).read_text("utf-8").splitlines()]  # noqa: ASYNC240
    assert listed == [{"path": "a.png", "size": 5}, {"path": "b/two.png", "size": 5}]
    assert (Path(plan["input"]["root"]) / "b" / "two.png").read_bytes() == b"image"
    assert program.steps_back
