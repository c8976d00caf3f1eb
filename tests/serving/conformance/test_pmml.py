"""Served PMML answers equal PyPMML's own, on every field that a file declares: the examples, many rows of each.

PyPMML runs beside our engine in the same Java, so that both ask the same PMML4S.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pypmml import Model
from pypmml.base import PMMLContext
from pypmml.jvm import JPypeGateway

from serving.engines.base import LoadedModel
from serving.engines.pmml import PmmlEngine
from serving.engines.pmml_jvm import ensure_jvm
from serving.signature import InputField, OutputField, Signature
from tests.serving.engines import pmml_texts as texts

EXAMPLES = (
    "breast-cancer-anomaly", "diabetes-risk", "diabetes", "iris-logistic", "iris-rules", "iris", "wine-clusters",
    "wine-pca",
)  # fmt: skip
TEXTS = ("TREE", "SCORECARD", "FOREST", "VOTES", "BOOSTED", "NETWORK", "CLUSTERS", "ISOLATION", "BAYES", "RULES")
ROWS = 60
TASK_FEATURES = ("predictedValue", "clusterId", "entityId")


@pytest.fixture(scope="module", autouse=True)
def pypmml_in_our_java() -> Iterator[None]:
    """PyPMML without a start of its own."""
    ensure_jvm(1)
    PMMLContext(gateway_instance=JPypeGateway())
    yield
    PMMLContext._active_pmml_context = PMMLContext._gateway = None


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_answers_what_pypmml_answers(repository_root: Path, name: str) -> None:
    _compare(repository_root / "examples" / f"{name}.pmml", least_fields=0 if name == "iris-logistic" else 1)


@pytest.mark.parametrize("name", TEXTS)
def test_a_small_model_answers_what_pypmml_answers(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.pmml"
    path.write_text(getattr(texts, name), encoding="utf-8")
    _compare(path, least_fields=0)


def _compare(path: Path, least_fields: int) -> None:
    engine = PmmlEngine()
    signature = engine.describe(path)
    # Loaded before ours: ours adds output fields to its own model, and reads the file again.
    bare = Model.fromFile(str(path))
    columns = _drawn(signature)
    served = _declared(signature, engine.load(path, signature, 1), columns)
    names = [str(name) for name in bare.outputNames]
    compared = [name for name in names if name in served]
    assert len(compared) >= least_fields
    for row in range(ROWS):
        asked = {name: _plain(column[row]) for name, column in columns.items()}
        answered = bare.predict(asked)
        for name in compared:
            assert _same(served[name][row], answered[name]), f"{name} of {asked}"
    assert set(names) <= set(served), "a declared field is not served"


def _declared(signature: Signature, model: LoadedModel, columns: Mapping[str, NDArray[np.generic]]) -> dict[str, list[object]]:
    """What is served by the names that the file may give it: those of classes and clusters have a place each."""
    answered = model.predict(columns)
    found: dict[str, list[object]] = {}
    for output in signature.outputs:
        column = answered[output.name].tolist()
        found[output.name] = column
        for place, label in enumerate(output.labels or ()):
            for name in _names_of_place(output, str(label)):
                found[name] = [row[place] for row in column]
    return found


def _names_of_place(output: OutputField, label: str) -> tuple[str, ...]:
    return (f"probability({label})", f"probability_{label}", f"p_{label}", f"distance({label})", f"affinity({label})")


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


def _same(served: object, bare: object) -> bool:
    if bare is None:
        return served is None or served != served
    if isinstance(served, float):
        return float(bare) == served  # type: ignore[arg-type]  # a boxed number of Java
    return str(served).lower() == str(bare).lower()
