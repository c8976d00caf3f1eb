"""Config files on a running platform: each replica has those of its revision, and a change of them fails no request."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cli.client import Platform
from cli.failure import CommandFailed
from tests.e2e.platform import RunningPlatform, until
from tests.e2e.test_rolling import ROLLED, WAIT, Load, put

LIMITS = "limits.yaml"


@pytest.fixture
def platform(attacked: RunningPlatform) -> Iterator[Platform]:
    """A client of a platform that serves `rolled` with two replicas."""
    with attacked.client() as client:
        put(client, {})
        yield client
        client.call("DELETE", ROLLED, headers=WAIT, timeout_s=90)


def change(platform: Platform, **patch: object) -> None:
    answer = platform.call("PATCH", ROLLED, patch, headers=WAIT, timeout_s=90)
    assert (answer.status, answer.document["status"]) == (200, "running"), answer.document


def folders(platform: Platform) -> dict[str, Path]:
    """Where the replicas that answer have their config files, by their ids: in the current folder of the process."""
    ready = platform.items(f"{ROLLED}/replicas", status="ready")
    return {row["id"]: Path(f"/proc/{row['pid']}/cwd").readlink() / "config" for row in ready}


def texts(platform: Platform) -> list[str]:
    return [(folder / LIMITS).read_text() for folder in folders(platform).values()]


def test_a_change_of_config_files_rolls_out_and_back_without_a_failed_request(
    attacked: RunningPlatform, platform: Platform
) -> None:
    load = Load(attacked.url)
    with load.running():
        change(platform, config_files={LIMITS: "most: 3\n"})
        assert texts(platform) == ["most: 3\n"] * 2
        first = folders(platform)
        change(platform, config_files={LIMITS: "most: 4\n"})
        assert texts(platform) == ["most: 4\n"] * 2
        assert not first.keys() & folders(platform).keys()
        until(lambda: True if not any(folder.exists() for folder in first.values()) else None, 60, "their end")
        assert platform.call("POST", f"{ROLLED}:rollback", headers=WAIT, timeout_s=90).status == 200
        assert texts(platform) == ["most: 3\n"] * 2
        change(platform, config_files=None)
        assert [list(folder.iterdir()) for folder in folders(platform).values()] == [[], []]
    assert set(load.statuses) == {200}


def test_a_service_is_pinned_to_what_its_node_says_it_has(platform: Platform) -> None:
    def told() -> list[Mapping[str, Any]] | None:
        try:
            return [each for each in platform.get("/api/v1/runtimes")["items"] if "onnx" in each["formats"]]
        except CommandFailed:  # 503: the node has just started
            return None

    [onnx] = until(told, 60, "the node's word")
    pin = {part: onnx[part] for part in ("engine", "engine_version", "python")}
    assert platform.get(ROLLED)["runs_on"] == pin
    change(platform, runtime=pin)
    assert platform.get(ROLLED)["live"]["runtime"] == pin
