"""Kills the real platform with SIGKILL. PORTSIDE_CRASH_ROUNDS tries for each stage (1 by default).

PORTSIDE_CRASH_SEED tries the same moments again; PORTSIDE_CRASH_WITHIN_S is how soon the first answer must come, for a
machine that has other work."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.crash.artifacts import onnx_artifact
from tests.crash.ledger import Begin, Ledger, Try
from tests.crash.receiver import Receiver, listening
from tests.crash.site import STEADY, Site
from tests.e2e.platform import until

LEDGER = pytest.StashKey[Ledger]()
ANSWERS_AGAIN_S = 5.0  # the bar
BESIDE_OTHERS_S = 30.0  # in `make test`, where other suites have the cores too


def rounds() -> int:
    return int(os.environ.get("PORTSIDE_CRASH_ROUNDS", "1"))


def allowed_s() -> float:
    usual = ANSWERS_AGAIN_S if rounds() > 1 else BESIDE_OTHERS_S
    return float(os.environ.get("PORTSIDE_CRASH_WITHIN_S", usual))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "number" in metafunc.fixturenames:
        metafunc.parametrize("number", range(rounds()))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "campaign: only in `make crash`, because `make test` has little time")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if rounds() == 1 and item.get_closest_marker("campaign")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    ledger = config.stash.get(LEDGER, None)
    if ledger is not None and ledger.tries:
        terminalreporter.write_sep("=", "crash campaign")
        for line in ledger.table():
            terminalreporter.write_line(line)


@pytest.fixture(scope="package")
def receiver() -> Iterator[Receiver]:
    with listening() as opened:
        yield opened


@pytest.fixture(scope="package")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One data folder for all tries, with a service that is running before each of them."""
    site = Site.open(tmp_path_factory.mktemp("site"))
    try:
        site.succeeded(site.upload("iris", onnx_artifact("steady"), "steady"))
        site.succeeded(site.deploy(STEADY, "iris"))
        yield site
    finally:
        site.close()


@pytest.fixture
def site(installation: Site) -> Site:
    """The installation, running and at rest; also after a test that has failed half-way."""
    if installation.running.process.poll() is not None:
        installation.restart()
    until(lambda: installation.answer_of(STEADY), 30, "an answer of the steady service")
    return installation


@pytest.fixture(scope="package")
def webhook_id(installation: Site, receiver: Receiver) -> str:
    """An endpoint that is told of everything."""
    wish = {"url": f"{receiver.url}/events", "events": ["*"]}
    return str(installation.api.call("POST", "/api/v1/webhooks", wish).document["id"])


@pytest.fixture(scope="session")
def seed() -> int:
    return int(os.environ.get("PORTSIDE_CRASH_SEED") or random.SystemRandom().randrange(1_000_000))


@pytest.fixture
def begin(request: pytest.FixtureRequest, number: int, seed: int) -> Begin:
    """Opens this test's try at a stage; it has passed when its block is left in peace."""

    @contextmanager
    def opened(stage: str) -> Iterator[Try]:
        made = Try(stage, number, seed, allowed_s())
        request.config.stash.setdefault(LEDGER, Ledger()).tries.append(made)
        yield made
        made.passed = True
        assert not made.is_late, f"the first answer came after {made.first_answer_s:.1f} s"

    return opened
