"""A folder is the truth: applied it becomes models and services, again it changes nothing, pruned it takes back."""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.commands import data, verb
from tests.e2e.platform import RunningPlatform

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MODEL = "kind: model\nname: flowers\nfile: flowers.onnx\ndescription: three kinds\n"
SERVICE = """---
kind: service
name: flowers
model: flowers
replicas: {replicas}
resources: {{cpu: 500m, memory: 1Gi}}
env: {{GREETING: {greeting}}}
config_files: {{limits.yaml: "most: {most}"}}
tags: [team-a]
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform with a model and a service that were made by hand."""
    with RunningPlatform.start(tmp_path_factory.mktemp("applied")) as platform:
        data(platform, "deploy", str(EXAMPLES / "iris.onnx"), "--name", "by-hand")
        yield platform


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("git")


@pytest.fixture
def served() -> Iterator[str]:
    """The examples over HTTP."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(EXAMPLES))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def write(folder: Path, *, file: str = "iris.onnx", replicas: int = 1, greeting: str = "hello", most: int = 3) -> None:
    shutil.copyfile(EXAMPLES / file, folder / "flowers.onnx")
    (folder / "flowers.yaml").write_text(MODEL + SERVICE.format(replicas=replicas, greeting=greeting, most=most))


def changes(running: RunningPlatform, folder: Path, *words: str) -> dict[str, str]:
    plan = json.loads(data(running, "apply", "-f", str(folder), "--dry-run", "--json", *words))
    return {change["name"]: change["action"] for change in plan}


def serves(running: RunningPlatform) -> str:
    shown = json.loads(data(running, "services", "show", "flowers", "--json"))
    return f"{shown['status']} {shown['version']} with {shown['replicas']}"


def test_a_dry_run_says_what_would_be_made_and_makes_nothing(running: RunningPlatform, folder: Path) -> None:
    write(folder)
    said = data(running, "apply", "-f", str(folder), "--dry-run")
    assert "+ model flowers" in said
    assert "+     replicas: 1" in said
    assert "Nothing was done" in said
    assert verb(running, "status", "flowers").exit_status == 3


def test_what_is_applied_is_there_and_applied_again_is_no_change(running: RunningPlatform, folder: Path) -> None:
    data(running, "apply", "-f", str(folder))
    assert serves(running) == "running 1 with 1"
    assert data(running, "apply", "-f", str(folder)) == "No change: 2 as declared.\n"
    model = json.loads(data(running, "models", "show", "flowers", "--json"))
    assert (model["description"], model["tags"]) == ("three kinds", ["managed-by=portside-apply"])


def test_only_what_differs_is_changed(running: RunningPlatform, folder: Path) -> None:
    write(folder, replicas=2)
    said = data(running, "apply", "-f", str(folder))
    assert [line for line in said.splitlines() if line[0] in "+-~"] == [
        "~ service flowers",
        "-     replicas: 1",
        "+     replicas: 2",
    ]
    assert serves(running) == "running 1 with 2"


def test_another_value_of_a_variable_rolls_out(running: RunningPlatform, folder: Path) -> None:
    revisions = len(data(running, "services", "revisions", "flowers", "-o", "name").split())
    write(folder, greeting="bye")
    data(running, "apply", "-f", str(folder))
    assert len(data(running, "services", "revisions", "flowers", "-o", "name").split()) == revisions + 1
    assert changes(running, folder) == {}


def test_another_text_of_a_config_file_rolls_out_and_is_not_shown(running: RunningPlatform, folder: Path) -> None:
    write(folder, greeting="bye", most=4)
    said = data(running, "apply", "-f", str(folder))
    assert "~ service flowers" in said
    assert "most: 4" not in said
    assert changes(running, folder) == {}
    pin = "runtime: {engine: onnxruntime}\n"
    (folder / "flowers.yaml").write_text((folder / "flowers.yaml").read_text() + pin)
    data(running, "apply", "-f", str(folder))
    assert changes(running, folder) == {}
    shown = json.loads(data(running, "services", "show", "flowers", "--json"))
    assert (shown["runtime"], shown["config_file_names"]) == ({"engine": "onnxruntime"}, {"limits.yaml": 7})
    write(folder, greeting="bye")
    data(running, "apply", "-f", str(folder))


def test_another_file_becomes_a_version_and_the_old_file_goes_back_to_the_old_one(
    running: RunningPlatform, folder: Path
) -> None:
    write(folder, file="diabetes.onnx", greeting="bye")
    assert changes(running, folder) == {"model/flowers": "change", "service/flowers": "change"}
    data(running, "apply", "-f", str(folder))
    assert serves(running) == "running 2 with 1"
    write(folder, greeting="bye")
    assert changes(running, folder) == {"service/flowers": "change"}
    data(running, "apply", "-f", str(folder))
    assert serves(running) == "running 1 with 1"
    assert changes(running, folder) == {}


def test_a_mistake_anywhere_changes_nothing(running: RunningPlatform, folder: Path) -> None:
    write(folder, replicas=3, greeting="bye")
    (folder / "zzz.yaml").write_text("kind: service\nname: x\nmodle: flowers\n")
    refused = verb(running, "apply", "-f", str(folder))
    (folder / "zzz.yaml").write_text("kind: service\nname: x\nmodel: no-such-model\n")
    missing = verb(running, "apply", "-f", str(folder))
    (folder / "zzz.yaml").unlink()
    assert (refused.exit_status, missing.exit_status) == (2, 3)
    assert "zzz.yaml:3: document 1, field 'modle'" in refused.err
    assert "zzz.yaml, document 1: service x: there is no model 'no-such-model'" in missing.err
    assert serves(running) == "running 1 with 1"


def test_a_refusal_of_the_platform_names_the_document(running: RunningPlatform, folder: Path) -> None:
    (folder / "zzz.yaml").write_text("kind: service\nname: x\nmodel: flowers\nresources: {memory: 1Mi}\n")
    refused = verb(running, "apply", "-f", str(folder / "zzz.yaml"))
    (folder / "zzz.yaml").unlink()
    assert refused.exit_status == 1
    assert "zzz.yaml, document 1: service x: " in refused.err
    assert "96Mi" in refused.err


def test_what_was_made_by_hand_is_changed_where_declared_and_never_pruned(
    running: RunningPlatform, folder: Path
) -> None:
    write(folder, greeting="bye")
    hand = folder / "by-hand.yaml"
    hand.write_text("kind: service\nname: by-hand\nmodel: by-hand\ndescription: adopted\n")
    assert changes(running, folder) == {"service/by-hand": "change"}
    data(running, "apply", "-f", str(folder))
    hand.unlink()
    assert changes(running, folder, "--prune") == {}


def test_a_source_is_fetched_once_and_only_with_the_declared_digest(
    running: RunningPlatform, tmp_path: Path, served: str
) -> None:
    digest = hashlib.sha256((EXAMPLES / "diabetes.onnx").read_bytes()).hexdigest()
    document = tmp_path / "fetched.yaml"
    document.write_text(f"kind: model\nname: fetched\nsource: {served}/diabetes.onnx\nsha256: {digest}\n")
    data(running, "apply", "-f", str(document))
    assert data(running, "apply", "-f", str(document)).startswith("No change")
    document.write_text(document.read_text().replace("diabetes.onnx", "iris.onnx").replace(digest, "a" * 64))
    other = verb(running, "apply", "-f", str(document))
    assert other.exit_status == 1
    assert "iris.onnx has the digest sha256:" in other.err
    document.write_text(document.read_text().replace("iris.onnx", "none.onnx"))
    missing = verb(running, "apply", "-f", str(document))
    assert missing.exit_status == 1
    assert "none.onnx cannot be fetched" in missing.err
    assert data(running, "models", "show", "fetched@latest", "-o", "name") == "fetched@1\n"
    data(running, "models", "delete", "fetched", "--yes")


def test_prune_asks_and_deletes_what_an_apply_has_made(running: RunningPlatform, folder: Path) -> None:
    (folder / "flowers.yaml").unlink()
    (folder / "rest.yaml").write_text("kind: service\nname: by-hand\nmodel: by-hand\n")
    assert changes(running, folder) == {}
    assert changes(running, folder, "--prune") == {"service/flowers": "delete", "model/flowers": "delete"}
    asked = verb(running, "apply", "-f", str(folder), "--prune")
    assert asked.exit_status == 2
    assert "--yes" in asked.err
    data(running, "apply", "-f", str(folder), "--prune", "--yes")
    assert data(running, "services", "ls", "-o", "name").split() == ["by-hand"]
    assert data(running, "models", "ls", "-o", "name").split() == ["by-hand"]
