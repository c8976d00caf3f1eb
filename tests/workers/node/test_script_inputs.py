"""Datasets that are only references, mounted for scripts: fetched as they were described, and no other bytes."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from state.inputs import inputs_of
from state.settling import settle
from tests.workers.node.runworld import FINAL, open_run_world
from tests.workers.node.scriptworld import Scripts, remove_places
from tests.workers.node.test_run_inputs import etag_of, refer
from tests.workers.runrows import numbers
from tests.workers.sources import open_source

READ = """
import portside.run
for name, path in sorted(portside.run.inputs().items()):
    print(name, path.name, path.stat().st_size, flush=True)
"""
MOST_BYTES = 10_000


@pytest.fixture
async def scripts(data: Path, tmp_path: Path) -> AsyncIterator[Scripts]:
    """A platform that may read the test's own folder and this machine's addresses."""
    more = {"allow_private_sources": True, "max_dataset_bytes": MOST_BYTES}
    async with open_run_world(data, None, file_roots=(str(tmp_path),), **more) as opened:
        yield Scripts(opened)


@pytest.fixture(autouse=True)
def _cleaned(data: Path) -> Iterator[None]:
    yield
    remove_places(data)


def tag_of(content: bytes) -> str:
    """As the source tells it."""
    return f'"{hashlib.sha256(content).hexdigest()[:8]}"'


async def test_a_script_reads_what_references_name_as_files(scripts: Scripts, tmp_path: Path) -> None:
    file, far = tmp_path / "near.csv", numbers(200)
    file.write_bytes(numbers(30))
    async with open_source(far) as source:
        await refer(scripts.runs, file, await etag_of(file), "near")
        await refer(scripts.runs, source.url, tag_of(far), "far")
        await scripts.runs.ground.dataset(numbers(3))
        datasets = {"a": "near", "b": "far", "c": "numbers", "d": "far"}
        run = await scripts.begin(READ, inputs={"datasets": datasets, "models": {}})
        ended = await scripts.runs.until(run, *FINAL)
        asked = len(source.asked)
    log = await scripts.log(run)
    assert ended.status == "succeeded", (ended.error, log)
    assert [line.split() for line in log.splitlines() if ".csv" in line] == [
        ["a", "near.csv", str(len(numbers(30)))],
        ["b", "far.csv", str(len(far))],
        ["c", "numbers.csv", str(len(numbers(3)))],
        ["d", "far.csv", str(len(far))],
    ]
    assert asked == 1  # though two inputs read it
    async with scripts.runs.database.write() as session:
        await settle(session, run.id)
        assert await inputs_of(session, run.id) == []


async def test_a_source_that_is_another_by_now_fails_the_script_and_says_which(scripts: Scripts) -> None:
    async with open_source(numbers(5)) as source:
        await refer(scripts.runs, source.url, '"another"', "far")
        run = await scripts.begin(READ, inputs={"datasets": {"train": "far"}, "models": {}})
        ended = await scripts.runs.until(run, *FINAL)
    assert (ended.status, ended.reason) == ("failed", "source_changed")
    assert str(ended.message).startswith("the input 'train' is only a reference, and ")
    assert 'its ETag was "another"' in str(ended.message)
    assert ended.error is not None
    assert ended.error["errors"][0]["pointer"] == "/inputs/datasets/train"


async def test_a_reference_has_the_limits_of_a_copy(scripts: Scripts, tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    file.write_bytes(b"x" * (MOST_BYTES + 1))
    await refer(scripts.runs, file, await etag_of(file), "large")
    run = await scripts.begin(READ, inputs={"datasets": {"train": "large"}, "models": {}})
    ended = await scripts.runs.until(run, *FINAL)
    assert (ended.status, ended.reason) == ("failed", "too_large")
    assert "PORTSIDE_MAX_DATASET_BYTES" in str(ended.message)
