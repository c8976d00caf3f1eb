"""What every suite needs, and nothing that only one room needs."""

import asyncio
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.hanging import waiting_lines


@pytest.fixture(scope="session")
def repository_root() -> Path:
    return Path(__file__).resolve().parent.parent


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say of a test that took too long what its tasks wait for."""
    report = yield
    runner = getattr(item, "funcargs", {}).get("_function_scoped_runner")
    if isinstance(runner, asyncio.Runner) and "from pytest-timeout" in report.longreprtext:
        report.sections.append(("tasks", "\n".join(waiting_lines(runner.get_loop()))))
    return report
