"""A sample of the campaign, derandomized: schemathesis in all its phases finds nothing. The long one is `make fuzz`.

And on a platform that is broken it does: who finds nothing must be able to.
"""

from pathlib import Path

import pytest

from tests.e2e.environments import make_environment
from tests.fuzz.campaign import Fuzzer, Part, run

# What is made, linked and deleted most. It ends by itself; all operations take schemathesis minutes.
SOME = (Part("webhooks", ["--include-tag=webhooks"]),)
ONE = (Part("one", ["--include-operation-id=create_webhook", "--phases=coverage"]),)
EXAMPLES = 4
MOST_S = 120
PHASES = {"examples", "coverage", "fuzzing", "stateful"}
LEAST_CASES = 100


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Fuzzer:
    """schemathesis, in an environment of its own."""
    python = make_environment(tmp_path_factory.mktemp("schemathesis") / "environment", "schemathesis")
    return Fuzzer(python, most_examples=EXAMPLES)


@pytest.mark.slow
def test_a_fuzzer_that_reads_the_description_finds_nothing(fuzzer: Fuzzer, tmp_path: Path) -> None:
    summary = run(fuzzer, MOST_S, tmp_path, SOME)
    assert not summary.faults, "\n".join(summary.lines())
    assert set(summary.cases) == PHASES
    assert sum(summary.cases.values()) > LEAST_CASES
    assert summary.links[0] > 0


@pytest.mark.slow
def test_it_finds_the_one_answer_that_is_a_bug(fuzzer: Fuzzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTSIDE_FAILPOINTS", "commit_before_answer=raise@6")  # the example takes two
    summary = run(fuzzer, MOST_S, tmp_path, ONE)
    assert summary.server_errors == 1
    assert any(what.startswith("500 POST /api/v1/webhooks") for what in summary.faults), [*summary.faults]
    assert any(what.startswith("logged: ERROR") and "a request failed" in what for what in summary.faults), [
        *summary.faults
    ]
