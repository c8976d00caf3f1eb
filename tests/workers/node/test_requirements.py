"""Requirements of scripts, installed from a real index: with their hashes, once, and never with other bytes."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.e2e.environments import handed_over
from tests.workers.node.runworld import FINAL, open_run_world
from tests.workers.node.scriptworld import Scripts, remove_places

ROOT = Path(__file__).resolve().parents[3]
IMPORTS = "import idna\nprint('encoded', idna.encode('bücher.example').decode())\n"
MADE = "makes an environment"


@pytest.fixture(autouse=True)
def _cleaned(data: Path) -> Iterator[None]:
    yield
    remove_places(data)


@pytest.fixture
async def scripts(data: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scripts]:
    """A platform whose operator says where packages are, as he may say it to uv."""
    for name, value in handed_over():
        monkeypatch.setenv(name, value)
    async with open_run_world(data) as opened:
        yield Scripts(opened)


def locked(name: str) -> str:
    """A requirement with its hashes, as a lock of ours has it."""
    text = (ROOT / "requirements" / "azure.txt").read_text("utf-8")
    found = re.search(rf"^{name}==.*(?:\n    --hash=.*)+", text, re.MULTILINE)
    assert found is not None
    return found[0] + "\n"


async def test_a_hashed_requirement_is_installed_once_and_imported(scripts: Scripts) -> None:
    for number in (1, 2):
        run = await scripts.begin(IMPORTS, name=f"script-{number}", requirements=locked("idna"))
        ended = await scripts.runs.until(run, *FINAL)
        log = await scripts.log(run)
        assert ended.status == "succeeded", (ended.error, log)
        assert "encoded xn--bcher-kva.example" in log
        assert (MADE in log) == (number == 1)  # the second one finds it by the digest of what it requires


async def test_a_requirement_of_other_bytes_than_its_hash_fails_the_run(scripts: Scripts) -> None:
    wrong = re.sub(r"sha256:\w+", f"sha256:{'0' * 64}", locked("idna"))
    run = await scripts.begin(IMPORTS, requirements=wrong)
    ended = await scripts.runs.until(run, *FINAL)
    assert (ended.status, ended.reason) == ("failed", "environment_failed")
    assert "idna" in str(ended.message)
    assert "ash" in str(ended.message)
    assert "encoded" not in await scripts.log(run)
