"""A batch over a folder: one row per file, its bytes what the model takes."""

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from pyarrow import csv

from serving.batch.plan import BatchFailed
from tests.serving.batch.runs import made, ready
from tests.serving.engines.onnx_models import model, node, saved, tensor


def files_plan(folder: Path, files: Mapping[str, bytes], **more: object) -> dict[str, object]:
    """A plan over these files, which are written."""
    for name, content in files.items():
        path = folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    listed = folder / "files.jsonl"
    listed.write_text("".join(json.dumps({"path": n, "size": len(c)}) + "\n" for n, c in files.items()), "utf-8")
    given = {"kind": "files", "root": str(folder / "in"), "list": str(listed)}
    return {"input": given, "output": {"format": "csv"}, **more}


def texts(folder: Path) -> Path:
    kinds = [tensor("x", [None], TensorProto.STRING)], [tensor("y", [None], TensorProto.STRING)]
    return saved(model([node("Identity", "x", "y")], *kinds), folder)


def sizes(folder: Path) -> Path:
    """How large each file is, and the sum of its bytes."""
    nodes = [node("Cast", "x", "numbers", to=TensorProto.INT64), node("ReduceSum", "numbers axes", "y", keepdims=0)]
    weights = [tensor_of([1])]
    kinds = [tensor("x", [None, None], TensorProto.UINT8)], [tensor("y", [None], TensorProto.INT64)]
    return saved(model(nodes, *kinds, weights), folder)


def tensor_of(axes: list[int]) -> TensorProto:
    made = TensorProto(name="axes", data_type=TensorProto.INT64, dims=[len(axes)])
    made.int64_data.extend(axes)
    return made


def test_a_text_model_reads_each_file_and_tells_what_it_cannot_read(tmp_path: Path) -> None:
    files = {"a.txt": b"one", "b/c.txt": b"two", "d.bin": b"\xff\xfe", "e.txt": b"", "f.txt": "über".encode()}
    plan = files_plan(tmp_path, files, chunk_rows=2)
    (tmp_path / "in" / "a.txt").unlink()
    run = made(tmp_path / "out", texts(tmp_path), plan)
    told = csv.read_csv(io.BytesIO(b"".join(run.parts)), convert_options=csv.ConvertOptions(strings_can_be_null=False))
    assert told.to_pydict() == {"path": ["b/c.txt", "e.txt", "f.txt"], "y": ["two", "", "über"]}
    assert [(each["row"], each["column"]) for each in run.bad] == [(0, "path"), (2, "content")]
    assert "UTF-8" in str(run.bad[1]["reason"])
    assert run.rows_in == [2, 2, 1]
    assert run.started["rows"] == 5


def test_a_vector_of_bytes_takes_files_of_any_length(tmp_path: Path) -> None:
    plan = files_plan(tmp_path, {"a": b"\x01\x02", "b": bytes(range(100)), "c": b"\xff"})
    run = made(tmp_path / "out", sizes(tmp_path), plan)
    assert run.parts == [b'"path","y"\n"a",3\n"b",4950\n"c",255\n']


def test_a_model_of_images_takes_arrays_and_refuses_images(tmp_path: Path) -> None:
    mean = saved(
        model([node("Identity", "x", "y")], [tensor("x", [None, 1, 2])], [tensor("y", [None, 1, 2])]), tmp_path
    )
    image = io.BytesIO()
    np.save(image, np.array([[1, 2]], np.float32))
    run = made(
        tmp_path / "out", mean, files_plan(tmp_path, {"a.npy": image.getvalue()}) | {"output": {"format": "jsonl"}}
    )
    assert run.parts == [b'{"path":"a.npy","y":[[1.0,2.0]]}\n']
    with pytest.raises(BatchFailed, match=r"FP32 of the shape \[1, 2\], and takes no file's bytes") as refused:
        ready(tmp_path / "out", mean, files_plan(tmp_path, {"a.png": b"\x89PNG"}))
    assert "need a model that reads them" in refused.value.hint


def test_a_list_that_leads_outside_of_the_folder_reads_nothing_there(tmp_path: Path) -> None:
    plan = files_plan(tmp_path, {"a.txt": b"one"})
    (tmp_path / "secret").write_text("secret", "utf-8")
    listed = [{"path": "../secret"}, {"path": str(tmp_path / "secret")}, {"path": "a.txt"}]
    (tmp_path / "files.jsonl").write_text("\n".join(map(json.dumps, listed)), "utf-8")
    run = made(tmp_path / "out", texts(tmp_path), plan)
    assert run.parts == [b'"path","y"\n"a.txt","one"\n']
    assert [each["reason"] for each in run.bad] == ["cannot be read: it is outside the folder"] * 2


def test_large_files_make_small_chunks(tmp_path: Path) -> None:
    plan = files_plan(tmp_path, {f"{at}": b"x" * (7 * 2**20) for at in range(5)})
    run = made(tmp_path / "out", texts(tmp_path), plan | {"output": {"format": "arrow"}})
    assert run.rows_in == [2, 2, 1]
