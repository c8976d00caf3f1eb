"""Environments of scripts: made once, whoever asks at the same time, and none hides an installed client."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.node.environments import Workshop, environment_of


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """A place for environments, with the system's own interpreter or ours."""
    reading, writing = os.pipe()
    (tmp_path / "made").mkdir()
    python = Path(os.path.realpath(sys.executable))
    yield Workshop(python, tmp_path / "made", tmp_path / "uv", reading, timeout_s=60, builds=False)
    for end in (reading, writing):
        os.close(end)


def said(environment: Path, text: str) -> str:
    command = [str(environment / "bin" / "python"), "-c", text]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=environment, env={}).stdout.strip()


async def test_one_environment_is_made_for_all_who_ask(workshop: Workshop, tmp_path: Path) -> None:
    log = tmp_path / "log"
    made = await asyncio.gather(*(environment_of(workshop, "", log) for _ in range(4)))
    assert len(set(made)) == 1
    assert log.read_text().count("makes an environment") == 1
    assert [each.name for each in workshop.folder.glob("making-*")] == []
    assert await environment_of(workshop, "", log) == made[0]


async def test_reporting_is_there_and_hides_no_installed_client(workshop: Workshop, tmp_path: Path) -> None:
    made = await environment_of(workshop, "", tmp_path / "log")
    assert said(made, "import portside.run; print(portside.run.inputs())") == "{}"
    (site,) = made.glob("lib/python*/site-packages")
    (site / "portside").mkdir()
    (site / "portside" / "__init__.py").write_text("WHOLE = True\n")
    assert said(made, "import portside; print(portside.WHOLE)") == "True"
