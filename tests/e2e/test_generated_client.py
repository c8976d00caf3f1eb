"""A client that is generated from our API's description, in an environment of its own, does the main job."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.environments import ROOT, make_environment, run_block, run_script
from tests.e2e.platform import RunningPlatform

DESCRIPTION = ROOT / "docs" / "reference" / "openapi.json"
PAGE = ROOT / "docs" / "how-to" / "use-other-clients.md"
PACKAGE = "portside_client"
CHECKS = (
    "does_the_main_job",
    "waits_in_the_request_and_submits_predictions",
    "keeps_webhooks_models_and_tokens",
)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has `openapi-python-client`, and what the clients that it writes import."""
    return make_environment(tmp_path_factory.mktemp("generator") / "environment", "generator")


@pytest.fixture(scope="module")
def generated(generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the generated package; anything that the generator cannot read fails."""
    folder = tmp_path_factory.mktemp("generated")
    config = folder / "config.json"
    config.write_text(json.dumps({"post_hooks": []}))  # nobody reads the code: it need not be formatted
    command = [str(generator.with_name("openapi-python-client")), "generate", "--path", str(DESCRIPTION)]
    options = ["--output-path", str(folder / PACKAGE), "--meta", "none", "--config", str(config), "--fail-on-warning"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform with the model `iris`."""
    platform = RunningPlatform.start(tmp_path_factory.mktemp("platform"))
    try:
        with platform.client() as api:
            content = (ROOT / "examples" / "iris.onnx").read_bytes()
            octets = {"content-type": "application/octet-stream", "Prefer": "wait=60"}
            assert api.send("POST", "/api/v1/models/iris/versions", content, headers=octets).status == 201
        yield platform
    finally:
        platform.end()


def test_it_has_a_function_for_every_operation(generated: Path) -> None:
    paths = json.loads(DESCRIPTION.read_text("utf-8"))["paths"]
    described = {operation["operationId"] for path in paths.values() for operation in path.values()}
    found = {file.stem for file in (generated / PACKAGE / "api").glob("*/*.py") if file.stem != "__init__"}
    assert found == described


@pytest.mark.parametrize("name", CHECKS)
def test_it(generator: Path, generated: Path, running: RunningPlatform, name: str) -> None:
    arguments = (running.url, name, str(ROOT / "examples"))
    run_script(generator, "generated_client.py", *arguments, path=generated)


def test_what_the_page_says_works_as_it_stands_there(
    generator: Path, generated: Path, running: RunningPlatform
) -> None:
    printed = run_block(generator, PAGE, PACKAGE, "http://127.0.0.1:8000", running.url, generated)
    assert "setosa" in printed
