"""azure-core, unmodified, in an environment of its own, follows the operations of a running platform to their end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.environments import ROOT, make_environment, run_block, run_script
from tests.e2e.platform import RunningPlatform

PAGE = ROOT / "docs" / "how-to" / "use-other-clients.md"
CHECKS = (
    "uploads_and_gets_the_version",
    "leads_a_service_through_its_life",
    "follows_what_is_done_at_once",
    "goes_on_from_a_token",
    "is_told_what_failed",
    "is_told_what_was_canceled",
    "is_refused_at_once",
    "shows_a_token",
    "does_everything_asynchronously",
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has azure-core."""
    return make_environment(tmp_path_factory.mktemp("azure") / "environment", "azure")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform with the model `iris`."""
    platform = RunningPlatform.start(tmp_path_factory.mktemp("platform"))
    try:
        with platform.client() as api:
            content = (ROOT / "examples" / "iris.onnx").read_bytes()
            octets = {"content-type": "application/octet-stream", "Prefer": "wait=60"}
            assert api.send("POST", "/api/v1/models/iris/versions", content, headers=octets).status == 201
        yield platform
    finally:
        platform.end()


@pytest.mark.parametrize("name", CHECKS)
def test_the_poller(client: Path, running: RunningPlatform, name: str) -> None:
    run_script(client, "azure_core_operations.py", running.url, name, str(ROOT / "examples"))


def test_what_the_page_says_works_as_it_stands_there(client: Path, running: RunningPlatform) -> None:
    printed = run_block(client, PAGE, "azure.core", "http://127.0.0.1:8000", running.url)
    assert printed.split(" ")[0] == "running"
