"""A job's run, and the script that the job gives, with the model's file and against a service: all say the same."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from portside import Portside
from tests.e2e.platform import RunningPlatform

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FLOWERS = "id,sl,sw,pl,pw\n1,5.1,3.5,1.4,0.2\n2,6.9,3.1,4.9,1.5\n3,oops,3.3,6.0,2.5\n"
JOB = {
    "name": "score",
    "model": "iris",
    "input": {"dataset": "flowers"},
    "mapping": {"float_input": ["sl", "sw", "pl", "pw"]},
    "pass_through": ["id"],
}
RUN_S = 240


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with RunningPlatform.start(tmp_path_factory.mktemp("scripts")) as platform:
        yield platform


def run(code: str, folder: Path) -> list[str]:
    """The lines of its output."""
    (folder / "script.py").write_text(code, "utf-8")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    command = [sys.executable, "-I", "script.py"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=RUN_S, check=False
    )
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    return (folder / "score-output.csv").read_text("utf-8").splitlines()


def test_the_script_of_a_job_runs_with_the_file_and_against_a_service(running: RunningPlatform, tmp_path: Path) -> None:
    with Portside(running.url) as platform:
        platform.deploy(EXAMPLES / "iris.onnx")
        scored = _scored_by_the_platform(running, platform)
    with httpx2.Client(base_url=f"{running.url}/api/v1", timeout=90) as client:
        scripts = {against: client.get(f"/jobs/score/script?against={against}").text for against in ("file", "api")}
    written = {}
    for against, code in scripts.items():
        folder = tmp_path / against
        folder.mkdir()
        (folder / "flowers.csv").write_text(FLOWERS, "utf-8")
        (folder / "iris-1.onnx").symlink_to(EXAMPLES / "iris.onnx")
        written[against] = run(code, folder)
    assert [line.replace('"', "").split(",")[:2] for line in written["file"]] == [
        ["id", "label"],
        ["1", "setosa"],
        ["2", "versicolor"],
    ]
    told = [[line.replace('"', "").split(",")[:2] for line in lines] for lines in (*written.values(), scored)]
    assert told[0] == told[1] == told[2]


def _scored_by_the_platform(running: RunningPlatform, platform: Portside) -> list[str]:
    """The lines of the output of a run, begun and waited for with the Python client."""
    with httpx2.Client(base_url=f"{running.url}/api/v1", timeout=90) as client:
        csv = {"Content-Type": "text/csv", "Prefer": "wait=60"}
        assert client.post("/datasets?name=flowers", content=FLOWERS, headers=csv).json()["status"] == "ready"
        more = {name: value for name, value in JOB.items() if name not in ("name", "model", "input")}
        ended = platform.create_job("score", "iris", "flowers", **more).run().wait(60)
        assert (ended.rows_in, ended.rows_out, ended.bad, ended.progress["percent"]) == (3, 2, 1, 100)
        content: str = client.get(ended.result()["output"]["urls"]["content"]).text
    return content.splitlines()
