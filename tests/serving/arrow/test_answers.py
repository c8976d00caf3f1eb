"""Arrow out: whatever it was asked in, named like a table, typed like the engine."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pyarrow import ipc

from serving.loading import load_scorer
from serving.media import ARROW
from serving.score import Identity, Scorer
from serving.signature import OutputField
from tests.serving.arrow.streams import is_same, stream
from tests.serving.bodies import send
from tests.serving.models import IDENTITY, PythonModel, double_scorer, scalar, signature_of
from tests.serving.wire import Wire, request

IRIS = {"sepal_length": [5.1, 6.9], "sepal_width": [3.5, 3.1], "petal_length": [1.4, 4.9], "petal_width": [0.2, 1.5]}


@pytest.mark.parametrize("name", ["iris.onnx", "iris.pmml"])
def test_a_real_models_answers_are_those_of_its_table_in_json(examples: Path, name: str) -> None:
    scorer = load_scorer(examples / name, None, Identity("iris", "iris", "iris", "1"), 1).scorer
    names = scorer.validator.header.names
    given = pa.table([*IRIS.values()], names if len(names) == 4 else [*IRIS])
    answer = ipc.open_stream(send(scorer, stream(given), ARROW).body).read_all()
    table = json.loads(send(scorer, stream(given), ARROW, "application/json").body)["outputs"]
    assert answer.column_names == table["columns"]
    assert [list(row.values()) for row in answer.to_pylist()] == table["data"]
    assert answer.schema.metadata == {
        b"portside.model": b"iris",
        b"portside.version": b"1",
        b"portside.service": b"iris",
    }


def test_json_and_csv_may_be_answered_in_arrow() -> None:
    for body, kind in (
        ('{"inputs":[{"x":[1,2]}]}', ""),
        ("a,b\n1,2\n", "text/csv"),
        ('{"x":[1,2]}', "application/jsonl"),
    ):
        answer = send(double_scorer(), body, kind, ARROW)
        assert answer.content_type == ARROW
        assert ipc.open_stream(answer.body).read_all().to_pylist() == [{"y": [2, 4]}]


def test_each_output_keeps_its_datatype_and_its_dimensions() -> None:
    columns: dict[str, NDArray[np.generic]] = {
        "half": np.array([1.5, np.nan], np.float16),
        "byte": np.array([0, 255], np.uint8),
        "truth": np.array([True, False]),
        "cube": np.arange(12, dtype=np.int16).reshape(2, 2, 3),
        "turned": np.asfortranarray(np.arange(4, dtype=np.float64).reshape(2, 2)),
        "empty": np.zeros((2, 0), np.float32),
    }
    outputs = tuple(OutputField(name, "FP32", (-1,)) for name in (*columns, "text", "mixed"))
    texts: dict[str, NDArray[np.generic]] = {
        "text": np.array(["ä", ""], np.object_),
        "mixed": np.array([1, "a"], np.object_),
    }
    scorer = Scorer(signature_of((scalar("x"),), outputs), PythonModel(lambda _: columns | texts), IDENTITY)
    answer = ipc.open_stream(send(scorer, '{"inputs":[{"x":1},{"x":2}]}', "", ARROW).body).read_all()
    for name in ("half", "byte", "truth"):
        assert is_same(answer[name].to_numpy(), columns[name])
    assert answer["cube"].type == pa.list_(pa.list_(pa.int16(), 3), 2)
    assert all(answer[name].to_pylist() == columns[name].tolist() for name in ("cube", "turned", "empty"))
    assert (answer["text"].to_pylist(), answer["mixed"].to_pylist()) == (["ä", ""], ["1", '"a"'])


async def test_arrow_is_answered_at_the_predict_path(wire: Wire) -> None:
    body = stream(pa.table({"a": [1.0], "b": [2.0]}))
    wire.send(request("POST", "/predict", body, content_type=ARROW))
    wire.send(request("POST", "/predict", {"inputs": {"x": [1, 2]}}, accept=ARROW))
    wire.send(request("POST", "/predict", body[:-40], content_type=ARROW))
    wire.send(request("POST", "/predict", body, content_type="application/vnd.apache.arrow.file"))
    wire.send(request("POST", "/predict", {"tensors": {"x": [[1, 2]]}}, accept=ARROW))
    replies = [await wire.reply() for _ in range(5)]
    assert [reply.status for reply in replies] == [200, 200, 400, 415, 406]
    assert [ipc.open_stream(reply.body).read_all().to_pylist() for reply in replies[:2]] == [[{"y": [2, 4]}]] * 2


def test_nobody_loads_arrow_before_it_is_asked_for(repository_root: Path) -> None:
    code = "import sys, serving.command; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=repository_root, check=False).returncode == 0


CRAMPED = """
import resource, sys
from serving.arrow import open
resource.setrlimit(resource.RLIMIT_DATA, (open._data_bytes() + 2**25, resource.RLIM_INFINITY))
try:
    open.write_stream([], {})
except MemoryError:
    sys.exit('pyarrow' in sys.modules)
sys.exit(2)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process its memory so")
def test_where_memory_does_not_suffice_for_arrow_it_is_not_loaded(repository_root: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CRAMPED], cwd=repository_root, check=False)
    assert done.returncode == 0
