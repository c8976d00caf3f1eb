"""`python -m serving` with the compiled way: it runs, is counted, and steps aside where it must."""

import http.client
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.native.library import Library
from serving.native.place import VARIABLE
from tests.serving.native.campaign import sanitized

DEADLINE_S = 120
IRIS = {"inputs": {"float_input": [5.1, 3.5, 1.4, 0.2]}}
TENSOR = {"inputs": [{"name": "float_input", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]}


@contextmanager
def serving(model: Path, root: Path, native: str, *options: str) -> Iterator[str]:
    """A model server's address; `native` is what the variable says."""
    environment = {"PYTHONPATH": str(root), "PATH": os.environ["PATH"], VARIABLE: native}
    command = [sys.executable, "-P", "-m", "serving", "--model", str(model), "--port", "0", *options]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stderr
            url = process.stdout.readline().decode().strip()
            while b" is ready " not in (line := process.stderr.readline()):
                assert line
            yield url
        finally:
            process.kill()


def ask(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=DEADLINE_S) as answer:  # closes
        return json.loads(answer.read())


def figure(url: str, name: str) -> float:
    with urllib.request.urlopen(f"{url}/metrics", timeout=DEADLINE_S) as answer:
        lines = answer.read().decode().splitlines()
    (found,) = (line for line in lines if line.startswith(name))
    return float(found.split()[-1])


@pytest.fixture
def iris(repository_root: Path) -> Path:
    return repository_root / "examples" / "iris.onnx"


def persistent(url: str, body: object, times: int) -> list[bytes]:
    """The raw answers on one connection that is kept open, its requests as plain as they can be."""
    answers = []
    with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=DEADLINE_S)) as connection:
        for _ in range(times):
            connection.request("POST", "/predict", json.dumps(body))
            answers.append(connection.getresponse().read())
    return answers


def test_plain_requests_take_the_compiled_way_and_are_counted(
    iris: Path, repository_root: Path, library: Library
) -> None:
    with serving(iris, repository_root, str(library.path.parent)) as url:
        assert ask(f"{url}/v2")["small_json"] == "compiled"
        assert len(set(persistent(url, IRIS, 300))) == 1
        assert figure(url, "portside_model_compiled_total") > 0  # a busy machine may send some to a thread
        assert figure(url, 'portside_model_requests_total{service="iris",part="",outcome="answered"}') == 300
        (told,) = ask(f"{url}/v2/models/iris/stats")["model_stats"]
        assert (told["inference_count"], told["execution_count"]) == (300, 300)


def test_without_a_library_python_answers_the_same(iris: Path, repository_root: Path, library: Library) -> None:
    with serving(iris, repository_root, str(library.path.parent)) as url:
        compiled = persistent(url, IRIS, 1)
    with serving(iris, repository_root, "off") as url:
        assert ask(f"{url}/v2")["small_json"] == "python"
        assert persistent(url, IRIS, 1) == compiled
        assert figure(url, "portside_model_compiled_total") == 0


def test_an_access_log_sees_every_request(iris: Path, repository_root: Path, library: Library) -> None:
    with serving(iris, repository_root, str(library.path.parent), "--access-log") as url:
        assert ask(f"{url}/v2")["small_json"] == "python"
        persistent(url, IRIS, 2)
        assert figure(url, "portside_model_compiled_total") == 0


def test_a_model_that_is_batched_is_not_answered_past_the_others(
    iris: Path, repository_root: Path, library: Library
) -> None:
    with serving(iris, repository_root, str(library.path.parent), "--max-batch", "8") as url:
        persistent(url, IRIS, 2)
        assert figure(url, "portside_model_compiled_total") == 0


def test_a_model_that_compiled_code_cannot_serve_is_pythons(repository_root: Path, library: Library) -> None:
    for name in ("iris-rules.pmml", "diabetes-risk.onnx"):
        with serving(repository_root / "examples" / name, repository_root, str(library.path.parent)) as url:
            assert ask(f"{url}/v2")["small_json"] == "python"


def test_memory_is_not_misused_by_requests_by_chance() -> None:
    assert sanitized(["--seconds", "1", "--seed", "6", "--echo-only"]) == 0
