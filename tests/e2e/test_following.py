"""A service of a real platform serves what its alias names, and then the newest version, without being told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.client import Platform
from tests.e2e.commands import data
from tests.e2e.platform import RunningPlatform, until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
APPLIED = "kind: service\nname: iris\nmodel: iris\nversion: '@prod'\nfollow: true\n"
IRIS = "/api/v1/services/iris"


@pytest.fixture
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with RunningPlatform.start(tmp_path_factory.mktemp("followed")) as platform:
        data(platform, "deploy", str(EXAMPLES / "iris.onnx"))
        yield platform


def serves(platform: Platform, version: str) -> None:
    """Wait until it does, and nothing is under way any more."""

    def look() -> bool | None:
        service = platform.get(IRIS)
        assert service["status"] in ("running", "updating"), service
        return True if (service["status"], service["live"]["version"]) == ("running", version) else None

    until(look, 60, f"the update to version {version}")


def test_a_service_goes_where_its_alias_goes_and_on_to_the_newest_version(
    running: RunningPlatform, tmp_path: Path
) -> None:
    with running.client() as platform:
        data(running, "models", "alias", "iris@1", "prod")
        platform.call("PATCH", IRIS, {"version": "@prod", "follow": True})
        data(running, "models", "upload", str(EXAMPLES / "diabetes.onnx"), "--name", "iris")
        assert platform.get(IRIS)["version"] == "1"
        data(running, "models", "alias", "iris@2", "prod")
        serves(platform, "2")
        assert "(it follows @prod)" in data(running, "status", "iris")
        platform.call("PATCH", IRIS, {"version": "latest"})
        other = next(file for file in sorted(EXAMPLES.glob("*.onnx")) if file.stem not in ("iris", "diabetes"))
        data(running, "models", "upload", str(other), "--name", "iris")
        serves(platform, "3")
        (tmp_path / "iris.yaml").write_text(APPLIED)
        assert "~ service iris" in data(running, "apply", "-f", str(tmp_path), "--dry-run")
        data(running, "apply", "-f", str(tmp_path))
        serves(platform, "2")
        assert "No change" in data(running, "apply", "-f", str(tmp_path))
        newest, older = platform.get("/api/v1/operations", kind="service.update")["items"][:2]
        assert newest["status"] == older["status"] == "succeeded"
