"""A client that is generated from our API's description, in an environment of its own, does the main job."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.client import Platform
from tests.e2e.described import Description
from tests.e2e.environments import ROOT, make_environment, run_block, run_script
from tests.e2e.platform import RunningPlatform
from tests.serving.archives import make_archive

DESCRIPTION = ROOT / "docs" / "reference" / "openapi.json"
PAGE = ROOT / "docs" / "how-to" / "use-other-clients.md"
WAIT = {"Prefer": "wait=60"}
PACKAGE = "portside_client"
# A table has no files and files have no columns; a batch leaves no artifact; data come as the type that they are of.
ELSEWHERE = (
    *("/api/v1/datasets/pictures/columns: 404", "/api/v1/datasets/pictures/preview: 404"),
    *("/api/v1/datasets/rows/files: 409", "/api/v1/datasets/rows/files/a.png: 409"),
    "/api/v1/jobs/scored/runs/1/artifacts/a.png: 404",
    *("/api/v1/datasets/rows/content: 200 text/csv", "/api/v1/datasets/pictures/content: 200 application/zip"),
)
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
    """A platform with the model `iris`, in an archive with the one part `de`."""
    archive = tmp_path_factory.mktemp("archive") / "iris.zip"
    make_archive(archive, {"iris.onnx": ROOT / "examples" / "iris.onnx"}, {"parts": {"de": "iris.onnx"}})
    platform = RunningPlatform.start(tmp_path_factory.mktemp("platform"))
    try:
        with platform.client() as api:
            octets = {"content-type": "application/octet-stream", **WAIT}
            path = "/api/v1/models/iris/versions"
            assert api.send("POST", path, archive.read_bytes(), headers=octets).status == 201
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


def make_one_of_each(api: Platform) -> dict[str, list[str]]:
    """Something of every kind; the values that stand for it in the paths."""

    def made(path: str, **body: object) -> str:
        return str(api.call("POST", f"/api/v1{path}", body, headers=WAIT).document["id"])

    made("/services", name="described", model="iris")
    api.call("PUT", "/api/v1/models/iris/aliases/best", {"version": "1"})
    hook = made("/webhooks", url="http://127.0.0.1:9/nobody")
    delivery = made(f"/webhooks/{hook}:test")
    record = {"float_input": [5.1, 3.5, 1.4, 0.2]}
    inputs: list[object] = [record, [record], {"wrong": 1}]
    form = b'--X\r\nContent-Disposition: form-data; name="content"; filename="a"\r\n\r\na\r\n--X--\r\n'
    multipart = {"content-type": "multipart/form-data; boundary=X"}
    octets = {"content-type": "application/octet-stream", **WAIT}
    api.send("POST", "/api/v1/datasets", b"a,b,c,d\n1,2,3,4\n", query={"name": "rows"}, headers=octets)
    made("/datasets", name="pictures", kind="files")
    api.send("PUT", "/api/v1/datasets/pictures/files/a.png", b"picture", headers=octets)
    upload = made("/uploads")
    made("/jobs", name="scored", model="iris", input={"dataset": "rows"}, schedule={"every": "1d"})
    run = made("/jobs/scored:run")
    return {
        "dataset": ["rows", "pictures"],
        "path": ["a.png"],
        "upload_id": [upload],
        "job": ["scored"],
        "run": ["1"],
        "run_id": [run],
        "model": ["iris"],
        "version": ["1", "latest", "@best"],
        "part": ["de"],
        "service": ["described"],
        "replica": [str(each["id"]) for each in api.items("/api/v1/services/described/replicas")],
        "operation_id": [str(each["id"]) for each in api.items("/api/v1/operations")],
        "event_id": [str(each["id"]) for each in api.items("/api/v1/events")][:5],
        "prediction": [made("/services/described/predictions", inputs=each) for each in inputs],
        "webhook_id": [hook],
        "delivery_id": [delivery],
        "token_id": [made("/tokens", name="described")],
        "file_id": [str(api.send("POST", "/api/v1/files", form, headers=multipart).document["id"])],
        "switch": ["deploys"],
    }


def test_whatever_can_be_read_is_as_it_is_described(running: RunningPlatform) -> None:
    with running.client() as api:
        known = make_one_of_each(api)
    found = Description(json.loads(DESCRIPTION.read_text("utf-8"))).faults(running.url, known)
    faults = [fault for fault in found if not fault.startswith(ELSEWHERE)]
    assert not faults, "\n".join(faults)
