"""A model is deleted with its services, whatever dies meanwhile; and as the command line says it."""

from pathlib import Path

import pytest

from cli.client import Platform
from cli.failure import CommandFailed
from cli.output import Output
from cli.registry import delete_with_services, services_of
from tests.e2e.commands import at_a_terminal, data, verb
from tests.e2e.platform import RunningPlatform, until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ENDS_S = 60
# Each is passed by the request itself, by the end of the service, of its version and of the model, or between these;
# the crash campaign has the others.
DEATHS = ("commit_before_answer=kill@1", "after_claim=kill@2", "after_effect=kill@1", "before_final_commit=kill@3")


def test_a_model_and_its_services_are_gone_whenever_the_platform_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "trap"
    monkeypatch.setenv("PORTSIDE_FAILPOINTS", f"@{trap}")
    running = RunningPlatform.start(tmp_path / "data")
    try:
        for death in DEATHS:
            data(running, "deploy", str(EXAMPLES / "iris.onnx"), "--name", "gone")
            trap.write_text(death, "utf-8")
            verb(running, "models", "delete", "gone", "--cascade", "--yes", "--timeout", "1")
            assert until(running.process.poll, ENDS_S, death) == -9
            running.close()
            running = RunningPlatform.start(tmp_path / "data")
            all_is_gone(running, death)
    finally:
        running.close()


def all_is_gone(running: RunningPlatform, death: str) -> None:
    """The model and the service, and nothing is left to do."""
    with running.client() as platform:
        for path in ("/api/v1/models/gone", "/api/v1/services/gone"):
            until(lambda path=path: is_missing(platform, path), ENDS_S, f"{path} after {death}")  # type: ignore[misc]  # a default
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


def test_who_deletes_a_model_in_use_is_told_what_goes_with_it(tmp_path: Path) -> None:
    with RunningPlatform.start(tmp_path / "data") as running:
        data(running, "deploy", str(EXAMPLES / "iris.onnx"), "--name", "flowers")
        refused = verb(running, "models", "delete", "flowers", "--yes")
        assert refused.exit_status == 4
        assert "cascade" in refused.err
        assert verb(running, "models", "delete", "flowers@1", "--cascade", "--yes").exit_status == 2
        asked = at_a_terminal(running, "models", "delete", "flowers", "--cascade", answer="n\n")
        assert "Delete the model flowers with all its versions and the service flowers? [y/N]" in asked.out
        assert data(running, "services", "ls", "-o", "name") == "flowers\n"
        with running.client() as platform:
            confirmed = services_of(platform, "flowers")
            platform.call("POST", "/api/v1/services", {"name": "late", "model": "flowers"})
            with pytest.raises(CommandFailed, match="used by 'late', too"):
                delete_with_services(platform, "flowers", confirmed, Output(quiet=True), wait_s=0)
        data(running, "services", "delete", "late", "--yes")
        done = verb(running, "models", "delete", "flowers", "--cascade", "--yes")
        assert (done.exit_status, "is deleted, and the service flowers." in done.err) == (0, True)
        assert data(running, "services", "ls", "-o", "name") == data(running, "models", "ls", "-o", "name") == ""
        data(running, "models", "upload", str(EXAMPLES / "iris.onnx"), "--name", "flowers")  # the name is free
        again = verb(running, "models", "delete", "flowers", "--cascade", "--yes")
        assert (again.exit_status, "The model flowers is deleted." in again.err) == (0, True)
