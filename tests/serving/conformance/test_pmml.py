"""Served PMML answers equal PyPMML's own, on every field that a file declares: the examples, many rows of each.

PyPMML runs beside our engine in the same Java, so that both ask the same PMML4S.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from jpype import JObject
from numpy.typing import NDArray
from pypmml import Model
from pypmml.base import PMMLContext
from pypmml.jvm import JPypeGateway

from serving.engines.pmml import PmmlEngine
from serving.engines.pmml_jvm import ensure_jvm
from serving.signature import InputField, Signature
from tests.serving.engines import pmml_texts as texts

# Without wine-pca, a file of transformations alone: PyPMML fails in a cast, where we answer.
EXAMPLES = (
    "breast-cancer-anomaly", "diabetes-risk", "diabetes", "iris-logistic", "iris-rules", "iris", "wine-clusters",
)  # fmt: skip
TEXTS = ("TREE", "SCORECARD", "FOREST", "VOTES", "BOOSTED", "NETWORK", "ISOLATION", "BAYES", "RULES")
ROWS = 60
_PREDICTIONS = ("predictedValue", "clusterId", "entityId")
_ROLES_OF_PREDICTIONS = ("label", "value", "cluster", "score")


@pytest.fixture(scope="module", autouse=True)
def pypmml_in_our_java() -> Iterator[None]:
    """PyPMML without a start of its own."""
    ensure_jvm(1)
    PMMLContext(gateway_instance=JPypeGateway())
    yield
    PMMLContext._active_pmml_context = PMMLContext._gateway = None


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_answers_what_pypmml_answers(repository_root: Path, name: str) -> None:
    _compare(repository_root / "examples" / f"{name}.pmml")


@pytest.mark.parametrize("name", TEXTS)
def test_a_small_model_answers_what_pypmml_answers(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.pmml"
    path.write_text(getattr(texts, name), encoding="utf-8")
    _compare(path)


def _compare(path: Path) -> None:
    engine = PmmlEngine()
    signature = engine.describe(path)
    bare = Model.fromFile(str(path))
    columns = _drawn(signature)
    served = _Served(signature, engine.load(path, signature, 1).predict(columns))
    fields = list(bare._java_model.outputFields())
    assert fields
    for row in range(ROWS):
        asked = {name: _plain(column[row]) for name, column in columns.items()}
        answered = bare.predict(asked)
        for field in fields:
            ours, theirs = served.value(field, row), answered[field.name()]
            assert _same(ours, theirs), f"{field.name()} of {asked}: {ours}, and PyPMML {theirs}"


class _Served:
    """Our answers, found by what PMML calls them: PyPMML gives names of its own where a file gives none."""

    def __init__(self, signature: Signature, answers: Mapping[str, NDArray[np.generic]]) -> None:
        self._signature, self._answers = signature, answers

    def value(self, field: JObject, row: int) -> object:
        """What is served for one of PMML4S's output fields."""
        name, feature = str(field.name()), str(field.feature())
        if name in self._answers:
            return self._answers[name][row].item() if self._answers[name].dtype != object else self._answers[name][row]
        if feature == "probability":
            return self._probability(str(field.value().get().toVal()) if field.value().isDefined() else None, row)
        if feature == "affinity" and field.value().isDefined():
            return self._place(("distance", "affinity"), str(field.value().get().toVal()), row)
        roles = _ROLES_OF_PREDICTIONS if feature in _PREDICTIONS else (feature,)
        output = next((o for o in self._signature.outputs if o.role in roles), None)
        assert output is not None, f"the declared field {name} ({feature}) is not served"
        return self._answers[output.name].tolist()[row]

    def _probability(self, label: str | None, row: int) -> object:
        if label is None:  # of the answer itself
            output = next(o for o in self._signature.outputs if o.role == "label")
            label = str(self._answers[output.name][row])
        return self._place(("probability",), label, row)

    def _place(self, roles: tuple[str, ...], label: str, row: int) -> object:
        output = next(o for o in self._signature.outputs if o.role in roles)
        places = {str(each): place for place, each in enumerate(output.labels or ())}
        return self._answers[output.name][row, places[label]].item()


def _drawn(signature: Signature) -> dict[str, NDArray[np.generic]]:
    drawn = np.random.default_rng(7)
    return {field.name: _column(field, drawn) for field in signature.inputs}


def _column(field: InputField, drawn: np.random.Generator) -> NDArray[np.generic]:
    if field.values:
        chosen = np.empty(ROWS, np.object_)
        chosen[:] = [field.values[index] for index in drawn.integers(0, len(field.values), ROWS)]
        return chosen
    numbers = drawn.uniform(0, 60, ROWS).round(2)
    if field.intervals:
        low, high = field.intervals[0].min, field.intervals[0].max
        numbers = drawn.uniform(low if low is not None else -50, high if high is not None else 50, ROWS).round(2)
    if field.datatype == "INT64":
        return numbers.astype(np.int64)
    return numbers.astype(np.float32) if field.datatype == "FP32" else numbers


def _plain(value: np.generic | object) -> object:
    if isinstance(value, np.float32):
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value


def _same(served: object, bare: JObject) -> bool:
    if bare is None:
        return served is None or served != served
    if isinstance(served, float):
        if served != served:
            return float(bare) != float(bare)
        return float(bare) == served
    return str(served).lower() == str(bare).lower()
