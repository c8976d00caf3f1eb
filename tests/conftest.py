"""What every suite needs, and nothing that only one room needs."""

import asyncio
import gc
import itertools
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.hanging import waiting_lines

# The files that take a minute and more, the longest first but for the mutations: beside the campaign's sample, which
# starts as many processes, each would wait for the other. A file is run as a whole by one worker (`--dist loadfile`):
# one of these that began last would leave the others idle. Then whole platforms, a few seconds each, and the rest.
LONGEST = (
    "tests/crash/test_sample.py",
    "tests/e2e/test_upgrade.py",
    "tests/fuzz/test_sample.py",
    "tests/crash/test_mutations.py",
    "tests/e2e/test_backup.py",
    "tests/e2e/test_cascading.py",
)
LONG = ("tests/crash/", "tests/e2e/", "tests/deploy/")
LONGEST_ID = 200


def pytest_configure() -> None:
    """Take Ctrl-C, and let what the tests start take it: what a shell starts in the background has been told to ignore
    it, and hands that on."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest. xdist must not put it into an order of its own (`--no-loadscope-reorder`): by the
    number of tests, which has the files with one long test last."""
    items.sort(key=lambda item: _turn(item.nodeid.partition("::")[0]))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Call a long text by its size: every worker of xdist tells the name of each test again and again."""
    if isinstance(val, str | bytes) and len(val) > LONGEST_ID:
        return f"{argname} of {len(val)}"
    return None


def _turn(file: str) -> int:
    """When a file comes; those of the same turn stay as they are collected."""
    if file in LONGEST:
        return LONGEST.index(file)
    return len(LONGEST) + (not file.startswith(LONG))


# A collection of garbage looks at a million objects of modules and tests, half a second each time, and a Java in this
# process asks for many: what is there is set aside before the first test, and what has come since after some files.
FILES_BETWEEN = 20
FILES = itertools.count(1)


def pytest_collection_finish() -> None:
    """Set aside what came with the tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _kept_aside() -> Iterator[None]:
    yield
    if next(FILES) % FILES_BETWEEN == 0:
        gc.collect()
        gc.freeze()


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
