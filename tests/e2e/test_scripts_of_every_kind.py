"""Generated scripts of every kind of model that a batch runs: with the file and against a service they say the same."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from api.scripts.plan import ScriptPlan
from api.scripts.render import render
from portside import Portside
from tests.e2e.platform import RunningPlatform
from tests.e2e.test_batch_scripts import Table, assert_alike, rows_of, script_plan
from tests.serving.batch.runs import csv_format, made, table_plan
from tests.serving.engines import pmml_texts as texts

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES, FIXTURES = ROOT / "examples", ROOT / "tests" / "fixtures" / "onnx"
EXPECTED = json.loads((FIXTURES / "expected.json").read_text("utf-8"))
# Several scripts after one another, each as it stands: a Java that starts takes longer than what it is asked.
RUN_ALL = """
import runpy, sys
for script in sys.argv[1:]:
    sys.argv = [script, script.replace(".py", ".csv"), script.replace(".py", ".out")]
    runpy.run_path(script, run_name="__main__")
"""
RUN_S = 240
ARRAYS = {"name": "image", "type": "list", "arrow_type": str(pa.list_(pa.list_(pa.list_(pa.float64()))))}
ROWS: Mapping[str, str] = {
    "TREE": "age,job\n20,clerk\n50,nurse\n50,clerk\n50,pilot\n,nurse\n",
    "REGRESSION": "size,rooms,color\n10,2,red\n20,,blue\n500,1,red\n5,3,green\n",
    "LOGISTIC": "x\n0.1\n1.5\n",
    "CLUSTERS": "x,y\n1,1\n9,8\n",
    "NETWORK": "x\n1\n-2\n",
    "SCORECARD": "age\n30\n50\n",
    "FOREST": "x\n0.5\n2.5\n",
    "VOTES": "x\n0.5\n2.5\n",
    "BOOSTED": "x\n0.5\n2.5\n",
    "SELECTED": "x\n-7\n-1\n3\n8\n",
    "BAYES": "wind\nweak\nstrong\nnone\n",
    "RULES": "age,job\n18,pilot\n50,clerk\n",
    "BASKETS": "beer,crisps\ntrue,false\nfalse,true\ntrue,true\n",
    "TRANSACTIONS": "basket,item\nb1,beer\nb1,crisps\nb2,crisps\n",
    "ISOLATION": "x\n4\n5.5\n9\n",
    "NEIGHBORS": "x\n1\n9\n",
    "PROJECTION": "a,b\n3,1\n5,2\n",
    "COMPONENTS": "a,b\n3,1\n5,2\n",
    "DATED": "day\n1970-01-03\n2024-02-29\nyesterday\n",
}


@dataclass(frozen=True)
class Case:
    """A script that is to do what a run does."""

    name: str
    plan: ScriptPlan
    expected: Table
    bad: Sequence[tuple[object, object]]


def case(model: Path, folder: Path, table: str, feeds: Mapping[str, str | list[str]], **more: object) -> Case:
    """What a run makes of this model and this table, and the script beside its input."""
    name = model.name.replace(".", "-")
    source = folder / f"{name}.csv"
    source.write_text(table, "utf-8")
    plan = script_plan(model, feeds=feeds, **more)
    kinds = {each: _kind(each, plan) for each in names_in(table)}
    format_ = csv_format(**kinds) if plan.input_format == "csv" else {"format": "jsonl", "columns": [ARRAYS]}
    written = made(folder / f"{name}.run", model, table_plan(source, format_, mapping=dict(feeds)))
    expected = rows_of(b"".join(written.parts))
    return Case(name, plan, expected, [(each["row"], each["line"]) for each in written.bad])


def _kind(column: str, plan: ScriptPlan) -> str:
    """The type of a column: that of the input that it feeds."""
    for each in plan.inputs:
        fed, datatype = plan.feeds.get(str(each["name"])), str(each["datatype"])
        if fed is not None and (column == fed or (not isinstance(fed, str) and column in fed)):
            return {"BYTES": "string", "BOOL": "bool"}.get(datatype, "int64" if "INT" in datatype else "float64")
    return "string"


def run_all(cases: Sequence[Case], folder: Path) -> None:
    """Each script says what the run said."""
    scripts = []
    for each in cases:
        script = folder / f"{each.name}.py"
        script.write_text(render(each.plan), "utf-8")
        scripts.append(str(script))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    command = [sys.executable, "-I", "-c", RUN_ALL, *scripts]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stderr
    for each in cases:
        written = rows_of((folder / f"{each.name}.out").read_bytes())
        bad = [json.loads(line) for line in (folder / f"{each.name}.out.bad.jsonl").read_text("utf-8").splitlines()]
        assert [(row["row"], row["line"]) for row in bad] == list(each.bad), (each.name, bad)
        assert_alike(written, each.expected)


def names_in(table: str) -> list[str]:
    """The columns of a CSV."""
    return next(csv.reader(table.splitlines()))


def _table(inputs: Mapping[str, Sequence[object]]) -> tuple[str, dict[str, str | list[str]]]:
    """Columns for what the fixtures say of inputs, vectors spread; and which of them feed what."""
    feeds: dict[str, str | list[str]] = {}
    columns: list[tuple[str, Sequence[object]]] = []
    for name, values in inputs.items():
        first = values[0]
        if isinstance(first, list) and len(first) > 1:
            feeds[name] = [f"{name}_{at}" for at in range(len(first))]
            columns += zip(feeds[name], zip(*values, strict=True), strict=True)
        else:
            feeds[name] = name
            columns.append((name, [each[0] if isinstance(each, list) else each for each in values]))
    rows = zip(*(values for _, values in columns), strict=True)
    lines = [",".join(name for name, _ in columns), *(",".join(f'"{cell}"' for cell in row) for row in rows)]
    return "\n".join(lines) + "\n", feeds


def image() -> tuple[str, dict[str, str | list[str]]]:
    """Pictures as arrays in lines of JSON."""
    given = json.loads((EXAMPLES / "digits-image.onnx.input.json").read_text("utf-8"))["inputs"]
    records = given if isinstance(given, list) else [given]
    return "".join(json.dumps({"image": each["image"]}) + "\n" for each in records), {"image": "image"}


def test_scripts_with_onnx_files_say_what_the_run_says(tmp_path: Path) -> None:
    cases = [
        case(FIXTURES / f"{name}.onnx", tmp_path, *_table(said["inputs"]))
        for name, said in EXPECTED.items()
        if name != "text"  # whose graph wants a locale of this machine, which only the model server takes out of it
    ]
    wide = (EXAMPLES / "breast-cancer-anomaly.csv").read_text("utf-8")
    cases.append(case(EXAMPLES / "breast-cancer-anomaly.onnx", tmp_path, wide, {"float_input": names_in(wide)}))
    cases.append(case(EXAMPLES / "digits-image.onnx", tmp_path, *image(), input_format="jsonl"))
    assert len(cases) > 20
    run_all(cases, tmp_path)


def pmml_cases(folder: Path) -> list[Case]:
    found: list[Case] = []
    for name, table in ROWS.items():
        model = folder / f"{name.lower()}.pmml"
        model.write_text(getattr(texts, name), "utf-8")
        found.append(case(model, folder, table, {each: each for each in names_in(table)}))
    for model in sorted(EXAMPLES.glob("*.pmml")):
        table = model.with_suffix(".csv").read_text("utf-8")
        found.append(case(model, folder, table, {each: each for each in names_in(table)}))
    return found


def test_scripts_with_pmml_files_say_what_the_run_says(tmp_path: Path) -> None:
    run_all(pmml_cases(tmp_path), tmp_path)


def test_scripts_against_services_say_what_the_run_says(attacked: RunningPlatform, tmp_path: Path) -> None:
    rules = (EXAMPLES / "iris-rules.csv").read_text("utf-8")
    cells = (EXAMPLES / "breast-cancer-anomaly.csv").read_text("utf-8")
    asked: Mapping[Path, tuple[str, dict[str, str | list[str]]]] = {
        EXAMPLES / "iris-rules.pmml": (rules, {each: each for each in names_in(rules)}),
        EXAMPLES / "breast-cancer-anomaly.onnx": (cells, {"float_input": names_in(cells)}),
        FIXTURES / "two_targets.onnx": _table(EXPECTED["two_targets"]["inputs"]),
        EXAMPLES / "digits-image.onnx": image(),
    }
    cases = []
    for model, (table, feeds) in asked.items():
        service = model.stem.replace("_", "-")
        more = {"input_format": "jsonl"} if table.startswith("{") else {}
        asks = {"against": "api", "service": service, "api_url": attacked.url, **more}
        cases.append(case(model, tmp_path, table, feeds, **asks))
        with Portside(attacked.url) as platform:
            platform.deploy(model, name=service)
    run_all(cases, tmp_path)
