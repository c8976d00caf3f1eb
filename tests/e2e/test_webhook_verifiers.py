"""What others verify webhooks with, in an environment of its own, on the deliveries of a running platform."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.environments import ROOT, make_environment, run_script
from tests.e2e.platform import RunningPlatform

CHECKS = (
    "verify_what_happened",
    "refuse_what_was_changed",
    "verify_with_either_secret_while_they_change",
    "verify_what_is_sent_again",
)


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has `standardwebhooks` and `svix`."""
    return make_environment(tmp_path_factory.mktemp("webhooks") / "environment", "webhooks")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform with nothing on it yet."""
    with RunningPlatform.start(tmp_path_factory.mktemp("platform")) as platform:
        yield platform


@pytest.mark.parametrize("name", CHECKS)
def test_other_packages(verifier: Path, running: RunningPlatform, name: str) -> None:
    run_script(verifier, "webhook_verifiers.py", running.url, name, str(ROOT / "examples"))
