"""`/runtimes` on a real platform: what its model servers' interpreter has."""

from typing import Any

from cli.failure import CommandFailed
from tests.e2e.platform import RunningPlatform, until


def test_the_runtimes_are_those_that_the_versions_were_inspected_with(attacked: RunningPlatform) -> None:
    with attacked.client() as platform:
        versions = [platform.get(f"/api/v1/models/{name}/versions/1") for name in ("iris", "risk")]

        def told() -> list[Any] | None:
            try:
                return list(platform.get("/api/v1/runtimes")["items"])
            except CommandFailed:  # 503: the node has just started
                return None

        runtimes = until(told, 60, "the node's word")
    assert {(each["engine"], each["engine_version"]) for each in runtimes} == {
        (version["engine"], version["engine_version"]) for version in versions
    }
