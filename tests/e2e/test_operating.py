"""The operator's verbs on a real platform: what is switched off is shown, honoured and switched on again."""

import json
from collections.abc import Iterator

import pytest

from cli.client import Platform
from cli.failure import CommandFailed, Exit
from cli.format import Format
from cli.listing import show_platform
from cli.operating import show_switches, show_system, switch_off, switch_on
from cli.output import Output
from tests.e2e.platform import RunningPlatform, until

WEBHOOK = {"url": "http://127.0.0.1:9/"}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform of its own: others would meet what is switched off."""
    with RunningPlatform.start(tmp_path_factory.mktemp("operated")) as running, running.client() as client:
        until(lambda: held(client) >= {"rescuer", "watcher"} or None, 60, "the first caretakers")
        yield client


def held(platform: Platform) -> set[str]:
    """The leases that somebody has."""
    return {lease["name"] for lease in platform.get("/api/v1/system")["leases"] if lease["holder"]}


def test_what_is_switched_off_is_told_honoured_and_switched_on_again(
    platform: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    switch_off(platform, "read_only", "the disk is moved", "1h", Output())
    assert "read_only off until 20" in capsys.readouterr().err

    def refusal() -> CommandFailed | None:
        try:
            platform.call("POST", "/api/v1/webhooks", WEBHOOK)
        except CommandFailed as failed:
            return failed
        return None

    refused = until(refusal, 60, "the refusal of a change")
    assert refused.message == "changes are switched off by local: the disk is moved"
    show_switches(platform, Output())
    assert "the disk is moved" in capsys.readouterr().out
    switch_on(platform, "read_only", Output())
    until(lambda: None if refusal() else True, 60, "the next change")


def test_an_unknown_switch_is_not_found(platform: Platform) -> None:
    with pytest.raises(CommandFailed, match="did you mean 'deploys'") as refused:
        switch_off(platform, "deploy", "a test", None, Output())
    assert refused.value.exit_status is Exit.NOT_FOUND


def test_the_system_is_shown_to_people_and_to_scripts(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    switch_off(platform, "schedules", "a test", None, Output())
    capsys.readouterr()
    show_system(platform, Output())
    said = capsys.readouterr().out
    for word in ("sqlite", "GiB free", "deliver", "0 of 32", "schedules is off", "embedded", "rescuer"):
        assert word in said, said
    show_platform(platform, Output())
    assert "schedules is off until switched on: a test\n" in capsys.readouterr().out
    show_system(platform, Output(Format.JSON))
    shown = json.loads(capsys.readouterr().out)
    assert [each["role"] for each in shown["processes"]] == ["embedded"]
    assert {lease["name"] for lease in shown["leases"]} >= {"rescuer", "watcher"}
