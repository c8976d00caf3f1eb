"""A model is deleted with its services, whatever dies meanwhile; and as the command line says it."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from cli.client import Platform
from cli.failure import CommandFailed
from cli.output import Output
from cli.registry import delete_with_services, services_of
from deploy.stack.process import answers
from tests.crash.installation import Installation, Member, embedded
from tests.e2e.commands import at_a_terminal, data, verb
from tests.e2e.platform import forge, until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ENDS_S = 60
# Each is passed by the request itself, by the end of the service, of its version and of the model, or between these;
# the crash campaign has the others.
DEATHS = ("commit_before_answer=kill@1", "after_claim=kill@2", "after_effect=kill@1", "before_final_commit=kill@3")


@dataclass(frozen=True)
class Mortal:
    """A platform of the crash campaign's kind: its commands are forked, which starts them in a fifth of the time."""

    site: Installation

    @property
    def url(self) -> str:
        return self.site.urls[0]

    @property
    def member(self) -> Member:
        return self.site.members[0]

    def start(self) -> None:
        """Start it, unless it lives; it answers then."""
        if not self.member.is_alive:
            self.member.start()
        until(lambda: answers(f"{self.url}/readyz") or None, ENDS_S, "the start")


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    with closing(embedded(tmp_path_factory.mktemp("mortal"), forge())) as site:
        yield Mortal(site)


def test_a_model_and_its_services_are_gone_whenever_the_platform_died(mortal: Mortal) -> None:
    mortal.start()
    for count, death in enumerate(DEATHS, 1):
        data(mortal, "deploy", str(EXAMPLES / "iris.onnx"), "--name", "gone")
        mortal.site.arm(death)
        verb(mortal, "models", "delete", "gone", "--cascade", "--yes", "--timeout", "1")
        until(lambda: None if mortal.member.is_alive else True, ENDS_S, death)
        assert len(mortal.site.hits()) == count
        mortal.start()
        all_is_gone(mortal.url, death)


def all_is_gone(url: str, death: str) -> None:
    """The model and the service, and nothing is left to do."""
    with Platform(url) as platform:
        for path in ("/api/v1/models/gone", "/api/v1/services/gone"):
            until(partial(is_missing, platform, path), ENDS_S, f"{path} after {death}")
        assert list(platform.items("/api/v1/operations", **{"status.in": "queued,running,failed"})) == []
        (last,) = platform.get("/api/v1/operations", kind="model.delete", page_size=1)["items"]
        assert [each["name"] for each in last["result"]["services"]] == ["gone"]


def is_missing(platform: Platform, path: str) -> bool | None:
    """True when it is not there; nothing while it is."""
    try:
        platform.get(path)
    except CommandFailed as failed:
        if failed.exit_status != 3:
            raise
        return True
    return None


def test_who_deletes_a_model_in_use_is_told_what_goes_with_it(mortal: Mortal) -> None:
    mortal.start()
    data(mortal, "deploy", str(EXAMPLES / "iris.onnx"), "--name", "flowers")
    refused = verb(mortal, "models", "delete", "flowers", "--yes")
    assert refused.exit_status == 4
    assert "cascade" in refused.err
    assert verb(mortal, "models", "delete", "flowers@1", "--cascade", "--yes").exit_status == 2
    asked = at_a_terminal(mortal, "models", "delete", "flowers", "--cascade", answer="n\n")
    assert "Delete the model flowers with all its versions and the service flowers? [y/N]" in asked.out
    assert data(mortal, "services", "ls", "-o", "name") == "flowers\n"
    with Platform(mortal.url) as platform:
        confirmed = services_of(platform, "flowers")
        platform.call("POST", "/api/v1/services", {"name": "late", "model": "flowers"})
        with pytest.raises(CommandFailed, match="used by 'late', too"):
            delete_with_services(platform, "flowers", confirmed, Output(quiet=True), wait_s=0)
    data(mortal, "services", "delete", "late", "--yes")
    done = verb(mortal, "models", "delete", "flowers", "--cascade", "--yes")
    assert (done.exit_status, "is deleted, and the service flowers." in done.err) == (0, True)
    assert data(mortal, "services", "ls", "-o", "name") == data(mortal, "models", "ls", "-o", "name") == ""
    data(mortal, "models", "upload", str(EXAMPLES / "iris.onnx"), "--name", "flowers")  # the name is free
    again = verb(mortal, "models", "delete", "flowers", "--cascade", "--yes")
    assert (again.exit_status, "The model flowers is deleted." in again.err) == (0, True)
