"""Rendered scripts as the Python that they are: what stands in them is data, and rows are read as runs read them."""

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.scripts.plan import ScriptPlan
from api.scripts.render import render

HOSTILE = "\"\"\"\n'''\\\x00\r\u2028{x}%s\nimport os; raise SystemExit\n" + "'" * 7 + '"' * 7 + "\\"


def plan(**said: Any) -> ScriptPlan:
    field = {"name": "x", "datatype": "INT64", "shape": [-1]}
    basic: dict[str, Any] = {
        "against": "api",
        "model": "iris",
        "version": "1",
        "model_format": "onnx",
        "task": "tensor",
        "inputs": [field],
        "outputs": [{**field, "name": "y"}],
        "feeds": {"x": "a"},
        "service": "iris",
    }
    return ScriptPlan(**{**basic, **said})


def names_of(said: ScriptPlan) -> dict[str, Any]:
    """What the script defines; its `main` does not run."""
    found: dict[str, Any] = {"__name__": "script"}
    exec(compile(render(said), "script.py", "exec"), found)
    return found


def values(said: ScriptPlan, file: Path, text: str) -> list[Any]:
    file.write_text(text, "utf-8", newline="")
    return [row for _, _, row in names_of(said)["read_rows"](file)]


def test_nothing_that_somebody_has_named_is_executed() -> None:
    said = plan(
        model=HOSTILE,
        version=HOSTILE,
        service=HOSTILE,
        api_url=HOSTILE,
        columns=[HOSTILE],
        feeds={HOSTILE: HOSTILE},
        input_file=HOSTILE,
        output_file=HOSTILE,
        pass_through=[HOSTILE],
        null_values=[HOSTILE],
        encoding=HOSTILE,
        args=[HOSTILE],
        output_format="jsonl",
        outputs=[{"name": HOSTILE, "datatype": "FP32", "shape": [-1]}],
    )
    found = names_of(said)
    assert (found["INPUT"], found["FEEDS"], found["PASS_THROUGH"]) == (HOSTILE, {HOSTILE: HOSTILE}, [HOSTILE])
    for format_ in ("onnx", "pmml"):
        field = {"name": HOSTILE, "datatype": "FP32", "shape": [-1], "role": "label", "labels": [HOSTILE, "b"]}
        hostile = {"model": HOSTILE, "model_file": HOSTILE, "args": [HOSTILE], "model_format": format_}
        score = {**field, "role": "probability", "target": HOSTILE, "shape": [-1, 2]}
        local = ast.parse(render(plan(**hostile, against="file", outputs=[field, score], task="classification")))
        constants = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in local.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id == "ANSWERS"
        }
        assert constants["ANSWERS"][1] == (
            "each",
            "probability(",
            [HOSTILE],
            [f"probability({HOSTILE})", "probability(b)"],
        )


def test_quotes_are_those_of_the_dataset(tmp_path: Path) -> None:
    single = plan(delimiter=";", quote="'")
    assert values(single, tmp_path / "a.csv", "a;b\n'x;y';\"1\n") == [{"a": "x;y", "b": '"1'}]
    assert values(plan(quote=None), tmp_path / "b.csv", 'a,b\n"x,y\n') == [{"a": '"x', "b": "y"}]


def test_columns_without_a_name_of_their_own_are_called_as_the_platform_calls_them(tmp_path: Path) -> None:
    said = plan(columns=["a", "a_2", "column_3"])
    assert values(said, tmp_path / "a.csv", "a,a,\n1,2,3\n") == [{"a": "1", "a_2": "2", "column_3": "3"}]
    assert values(plan(columns=["a", "b"]), tmp_path / "b.csv", "b, a \n1,2\n") == [{"b": "1", "a": "2"}]


def test_a_cell_may_be_long(tmp_path: Path) -> None:
    assert values(plan(), tmp_path / "a.csv", f"a\n{'x' * 200_000}\n") == [{"a": "x" * 200_000}]


def test_whole_numbers_keep_their_digits() -> None:
    number = _number()
    assert number("9007199254740993", "x", "INT64", "a") == 9007199254740993
    assert number(" -9007199254740993 ", "x", "INT64", "a") == -9007199254740993
    assert number("2.0", "x", "INT64", "a") == 2


@pytest.mark.parametrize("value", ["1_0", "inf", "nan", None, "2.5", "", [1], {}])
def test_what_no_run_takes_for_a_number_is_none_in_a_script(value: object) -> None:
    with pytest.raises(ValueError, match=r"^a: "):
        _number()(value, "x", "INT64", "a")


def test_values_outside_of_what_the_model_takes_are_refused() -> None:
    number = _number({"x": ([1, 2], []), "y": ([], [(0.0, 1.0, True, False)])}, ["y"])
    assert (number("2", "x", "INT64", "a"), number("0", "y", "FP64", "b")) == (2, 0.0)
    for value, name, kind in (("3", "x", "INT64"), ("1", "y", "FP64"), ("-0.1", "y", "FP64"), (None, "x", "INT64")):
        with pytest.raises(ValueError, match=r"^c: "):
            number(value, name, kind, "c")
    assert math.isnan(number(None, "y", "FP64", "b"))


def _number(domains: object = None, nullable: object = ()) -> Callable[..., Any]:
    scope: dict[str, Any] = {"NULLABLE": nullable, "DOMAINS": domains or {}, "math": math}
    text = render(plan(against="file"))
    exec(text[text.index("def number(") : text.index("def told(")], scope)
    found: Callable[..., Any] = scope["number"]
    return found
