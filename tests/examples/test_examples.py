"""The example models: complete, small, described, and asking for the inputs that stand beside them."""

import csv
import json
import re
from pathlib import Path

import onnx
import pytest
from lxml import etree

EXAMPLES = Path(__file__).parents[2] / "examples"
MODELS = sorted([*EXAMPLES.glob("*.onnx"), *EXAMPLES.glob("*.pmml")])
ALL_MODELS = pytest.mark.parametrize("model", MODELS, ids=lambda path: path.name)


def records(model: Path, kind: str, key: str) -> list[dict[str, object]]:
    """The records of MODEL.input.json or MODEL.expected.json."""
    content: dict[str, list[dict[str, object]]] = json.loads(
        model.with_name(f"{model.name}.{kind}.json").read_text(encoding="utf-8")
    )
    assert list(content) == [key]
    return content[key]


def declared_inputs(model: Path) -> set[str]:
    """The names of a file's inputs, read without any engine of ours."""
    if model.suffix == ".onnx":
        return {value.name for value in onnx.load(model).graph.input}
    document = etree.parse(model)
    schema = document.xpath("/*/*/*[local-name()='MiningSchema']/*[not(@usageType='target')]/@name")
    # A document of transformations alone has no MiningSchema: it takes what the DataDictionary declares.
    return set(map(str, schema or document.xpath("//*[local-name()='DataField']/@name")))


@ALL_MODELS
def test_every_example_has_as_many_expected_answers_as_inputs(model: Path) -> None:
    inputs, expected = records(model, "input", "inputs"), records(model, "expected", "outputs")
    assert len(inputs) == len(expected) >= 2


@ALL_MODELS
def test_the_inputs_of_an_example_are_the_ones_its_model_declares(model: Path) -> None:
    names = declared_inputs(model)
    assert names
    assert all(set(record) == names for record in records(model, "input", "inputs"))


@ALL_MODELS
def test_the_answers_of_an_example_tell_more_than_one_case(model: Path) -> None:
    answers = {json.dumps(answer) for answer in records(model, "expected", "outputs")}
    assert len(answers) == len(records(model, "expected", "outputs"))


@pytest.mark.parametrize("model", [m for m in MODELS if m.stem != "digits-image"], ids=lambda path: path.name)
def test_the_table_of_an_example_holds_the_same_records(model: Path) -> None:
    with (EXAMPLES / f"{model.stem}.csv").open(encoding="utf-8", newline="") as lines:
        rows = [list(row.values()) for row in csv.DictReader(lines)]
    inputs = records(model, "input", "inputs")
    wanted = [record["float_input"] if "float_input" in record else list(record.values()) for record in inputs]
    assert rows == [[str(value) for value in row] for row in wanted if isinstance(row, list)]


def test_every_example_is_small() -> None:
    sizes = {path.name: path.stat().st_size for path in EXAMPLES.iterdir() if path.is_file()}
    assert {name: size for name, size in sizes.items() if size > 200_000} == {}
    assert sum(sizes.values()) < 1_000_000


def test_no_file_lies_beside_the_examples_without_its_model() -> None:
    beside = {path.name for path in EXAMPLES.glob("*.json")}
    assert beside == {f"{model.name}.{kind}.json" for model in MODELS for kind in ("input", "expected")}


def test_the_table_in_the_readme_names_exactly_the_examples() -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `([^`]+)`", readme, re.MULTILINE)) == sorted(m.name for m in MODELS)


def test_each_task_has_an_example_in_each_format_that_can_express_it() -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `[^`]+\.(\w+)` \| [^|]+ \| ([a-z ]+)", readme, re.MULTILINE)
    both = {"classification", "regression", "clustering", "dimension reduction", "anomaly"}
    assert {task.strip() for kind, task in rows if kind == "onnx"} == both | {"tensor"}
    assert {task.strip() for kind, task in rows if kind == "pmml"} == both | {"association"}


def test_a_made_file_tells_no_time_so_that_its_digest_stays() -> None:
    assert [m.name for m in MODELS if m.suffix == ".pmml" and "<Timestamp>" in m.read_text(encoding="utf-8")] == []


def test_the_lock_of_the_examples_is_hashed_and_names_no_address() -> None:
    lock = (EXAMPLES / "requirements.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^[a-z0-9-]+==[^\n]*\\\n\s+--hash=sha256:", lock, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^[a-z]", lock, re.MULTILINE)) > 10
    assert "://" not in lock
