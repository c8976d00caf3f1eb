"""The engines answer the examples as scikit-learn does, within the tolerance that the folder's README promises."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from serving.engines.open import detect_format, open_engine
from serving.score import Identity, Scorer

EXAMPLES = Path(__file__).parents[2] / "examples"
MODELS = sorted([*EXAMPLES.glob("*.onnx"), *EXAMPLES.glob("*.pmml")])
TOLERANCE = 1e-4


def task_in_readme(model: Path) -> str:
    """The first words of the task's cell in the table, in the API's spelling."""
    row = next(
        line for line in (EXAMPLES / "README.md").read_text("utf-8").splitlines() if f"| `{model.name}` |" in line
    )
    return row.split("|")[3].split(":")[0].strip().replace(" ", "_")


def differences(found: object, expected: object, where: str = "") -> list[str]:
    """Where two answers differ by more than the tolerance, each as a line."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        if found.keys() != expected.keys():
            return [f"{where}: members {sorted(found)} instead of {sorted(expected)}"]
        return [line for key in expected for line in differences(found[key], expected[key], f"{where}/{key}")]
    if isinstance(expected, list) and isinstance(found, list):
        if len(found) != len(expected):
            return [f"{where}: {len(found)} values instead of {len(expected)}"]
        pairs = zip(found, expected, strict=True)
        return [line for i, (one, other) in enumerate(pairs) for line in differences(one, other, f"{where}/{i}")]
    if isinstance(expected, float) and isinstance(found, float | int):
        is_close = abs(found - expected) <= TOLERANCE * max(1.0, abs(expected))
    else:
        is_close = found == expected and type(found) is type(expected)
    return [] if is_close else [f"{where}: {found!r} instead of {expected!r}"]


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.name)
def test_an_example_is_answered_as_scikit_learn_answers_it(model: Path) -> None:
    engine = open_engine(detect_format(model))
    signature = engine.describe(model)
    scorer = Scorer(signature, engine.load(model, signature, 1), Identity("example", "example", "example", "1"))
    try:
        answer = json.loads(scorer.predict(model.with_name(f"{model.name}.input.json").read_bytes()))
    finally:
        scorer.close()
    expected = json.loads(model.with_name(f"{model.name}.expected.json").read_text(encoding="utf-8"))
    assert differences(answer["outputs"], expected["outputs"]) == []
    assert signature.task == task_in_readme(model)
