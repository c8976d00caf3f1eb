"""Generated scripts over datasets of files, each run as it stands: with the model's file, and by asking the service."""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest

from tests.e2e.commands import data
from tests.e2e.platform import RunningPlatform
from tests.e2e.test_batch_scripts import rows_of, run, script_plan
from tests.serving.batch.runs import made
from tests.serving.batch.test_files import files_plan, sizes, texts

RUN_S = 120


def array(values: object) -> bytes:
    sink = io.BytesIO()
    np.save(sink, np.array(values, np.uint8))
    return sink.getvalue()


TEXTS: Mapping[str, bytes] = {
    "a/b.txt": b"one",
    "a.txt": b"",
    "no text": b"\xff\xfe",
    "z.txt": b'{"$base64": "eA=="}',
    'ü, "quoted".txt': "über\n".encode(),
}
BYTES: Mapping[str, bytes] = {"0": b"\x01\x02", "1.npy": array([1, 2, 3]), "2.npy": array([[1]]), "long": bytes(300)}


@pytest.mark.parametrize(("make", "files"), [(texts, TEXTS), (sizes, BYTES)], ids=["texts", "bytes"])
def test_a_script_with_the_model_file_scores_files_as_the_run_does(
    tmp_path: Path, make: Callable[[Path], Path], files: Mapping[str, bytes]
) -> None:
    model = make(tmp_path)
    expected = made(tmp_path / "out", model, files_plan(tmp_path, dict(sorted(files.items()))))
    plan = script_plan(model, input_format="files", feeds={"x": "content"}, pass_through=["path"], chunk_rows=2)
    written, bad = run(plan, tmp_path, tmp_path / "in")
    assert rows_of(written) == rows_of(b"".join(expected.parts))
    assert [each["row"] for each in bad] == [each["row"] for each in expected.bad]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """The service `texts`, and the dataset `notes` of files."""
    folder = tmp_path_factory.mktemp("file-scripts")
    platform = RunningPlatform.start(folder)
    data(platform, "deploy", str(texts(folder)), "--name", "texts")
    with zipfile.ZipFile(folder / "notes.zip", "w") as archive:
        for name, content in TEXTS.items():
            archive.writestr(name, content)
    data(platform, "datasets", "create", str(folder / "notes.zip"), "--files")
    yield platform
    platform.end()


@pytest.mark.parametrize("against", ["api", "file"])
def test_the_script_of_a_dataset_of_files_reads_what_the_platform_gives_of_it(
    running: RunningPlatform, tmp_path: Path, against: str
) -> None:
    data(running, "datasets", "download", "notes", "-o", str(tmp_path / "notes.zip"))
    data(running, "models", "download", "texts", "-o", str(tmp_path / "texts-1.onnx"))
    body = json.dumps({"input": {"dataset": "notes"}, "against": against}).encode()
    asked = f"{running.url}/api/v1/models/texts/versions/1:script"
    with urlopen(Request(asked, body, {"Content-Type": "application/json"})) as answer:
        (tmp_path / "script.py").write_bytes(answer.read())
    command, environment = [sys.executable, "-I", "script.py"], {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=RUN_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"in": 5, "out": 4, "bad": 1}
    found = rows_of((tmp_path / "texts-output.csv").read_bytes())
    assert {row["path"]: row["y"] for row in found} == {
        name: content.decode() for name, content in TEXTS.items() if name != "no text"
    }
