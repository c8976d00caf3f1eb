"""A node asks the model server's own interpreter what it can run, and lives without an answer."""

import logging
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from core.settings import Settings
from workers.runtimes import Runtimes


async def test_the_interpreter_of_the_model_server_says_what_it_has(tmp_path: Path) -> None:
    runtimes = Runtimes(Settings(data=tmp_path, serving_python=sys.executable))
    assert runtimes.details() == {}
    await runtimes.ask()
    python = platform.python_version()
    assert runtimes.details() == {
        "runtimes": [
            {"engine": name, "engine_version": version(name), "formats": [format], "python": python}
            for name, format in (("onnxruntime", "onnx"), ("pypmml", "pmml"))
        ]
    }


@pytest.mark.parametrize("program", ["/nowhere/python", "/bin/false"])
async def test_an_interpreter_that_does_not_answer_is_logged_once_and_nothing_is_told(
    tmp_path: Path, program: str, caplog: pytest.LogCaptureFixture
) -> None:
    runtimes = Runtimes(Settings(data=tmp_path, serving_python=program))
    with caplog.at_level(logging.WARNING):
        await runtimes.ask()
    assert (runtimes.details(), len(caplog.records)) == ({}, 1)
