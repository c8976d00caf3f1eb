"""Rendered scripts as the Python that they are: what stands in them is data, and rows are read as runs read them."""

import ast
from pathlib import Path
from typing import Any

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
    assert found["NUMBERS"] == [HOSTILE]
    ast.parse(render(plan(model=HOSTILE, model_file=HOSTILE, against="file", outputs=said.outputs, args=[HOSTILE])))


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
    scope: dict[str, Any] = {"NULLABLE": ()}
    text = render(plan(against="file"))
    exec(text[text.index("def number(") : text.index("def answers(")], scope)
    number = scope["number"]
    assert number("9007199254740993", "INT64", "a") == 9007199254740993
    assert number(" -9007199254740993 ", "INT64", "a") == -9007199254740993
    assert number("2.0", "INT64", "a") == 2
