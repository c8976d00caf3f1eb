"""A model server as a process of its own, asked by many at once: its batches, figures, log lines and options."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.convolution import convolution_model
from serving.loading import load_scorer
from tests.serving.models import IDENTITY

Start = Callable[..., "subprocess.Popen[str]"]
ASKED, CLIENTS, SIZE = 96, 24, 8
DEADLINE_S = 120


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "conv.onnx"
    path.write_bytes(convolution_model(size=SIZE, channels=8, hidden=64))
    return path


@pytest.fixture
def start(model: Path, repository_root: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a server of the model with these options; its log goes to a file."""
    started: list[subprocess.Popen[str]] = []

    def begin(*options: str, **env: str) -> "subprocess.Popen[str]":
        environment = {"PYTHONPATH": str(repository_root), "PATH": os.environ["PATH"], **env}
        command = [sys.executable, "-P", "-m", "serving", "--model", str(model), "--port", "0", *options]
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def read(url: str, body: object = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=DEADLINE_S) as answer:
        found: bytes = answer.read()
        return found


def wait_until_ready(process: "subprocess.Popen[str]", url: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            read(f"{url}/readyz")
        except urllib.error.HTTPError as error:
            error.close()
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return


def scores(url: str, image: object) -> list[float]:
    answer: dict[str, Any] = json.loads(read(f"{url}/predict", {"inputs": {"image": image}}))
    found: list[float] = answer["outputs"]["scores"]
    return found


def test_many_at_once_get_their_own_answers_in_few_calls_of_the_engine(
    start: Start, model: Path, tmp_path: Path
) -> None:
    process = start(
        "--max-batch", "16", "--access-log", "--sample-payloads", "1", PORTSIDE_SAMPLE_FILE=str(tmp_path / "kept")
    )
    assert process.stdout
    url = process.stdout.readline().strip()
    wait_until_ready(process, url)
    images = np.random.default_rng(5).standard_normal((ASKED, 3, SIZE, SIZE)).astype(np.float32)
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda image: scores(url, image.tolist()), images))
    bare = load_scorer(model, None, IDENTITY, 1).scorer.run({"image": images})["scores"]
    np.testing.assert_allclose(answers, np.float64(bare), rtol=1e-4, atol=1e-6)
    (stats,) = json.loads(read(f"{url}/v2/models/conv/stats"))["model_stats"]
    assert stats["inference_count"] == stats["inference_stats"]["success"]["count"] == ASKED
    assert stats["execution_count"] == sum(each["compute_infer"]["count"] for each in stats["batch_stats"])
    metrics = read(f"{url}/metrics").decode()
    assert f'portside_model_stage_seconds_count{{service="conv",part="",stage="run"}} {ASKED}\n' in metrics
    assert 'portside_model_batch_limit{service="conv",part=""} 16\n' in metrics
    lines = (tmp_path / "log").read_text().splitlines()
    assert sum('"target":"/predict","status":200' in line for line in lines) == ASKED
    assert len((tmp_path / "kept").read_text().splitlines()) == ASKED
    assert any(line.startswith("conv runs up to 16 records together") for line in lines)


def test_an_option_that_makes_no_sense_is_refused_in_words(start: Start, tmp_path: Path) -> None:
    assert start(PORTSIDE_MAX_BATCH="many").wait(DEADLINE_S) == 2
    assert "--max-batch" in (tmp_path / "log").read_text()
