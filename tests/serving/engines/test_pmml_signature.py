"""What a PMML file tells about itself, read without Java."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.engines.pmml import PmmlEngine
from serving.signature import InputField, Interval, Producer, Signature, Target, Treatment
from tests.serving.engines import pmml_texts as texts


def describe(tmp_path: Path, text: str) -> Signature:
    path = tmp_path / "model.pmml"
    path.write_text(text, encoding="utf-8")
    return PmmlEngine().describe(path)


def inputs(tmp_path: Path, text: str) -> dict[str, InputField]:
    return {field.name: field for field in describe(tmp_path, text).inputs}


@pytest.mark.parametrize(
    ("text", "task", "algorithm"),
    [
        (texts.TREE, "classification", "decision tree"),
        (texts.REGRESSION, "regression", "linear regression"),
        (texts.LOGISTIC, "classification", "logistic regression"),
        (texts.CLUSTERS, "clustering", "k-means"),
        (texts.NETWORK, "regression", "neural network"),
        (texts.SCORECARD, "regression", "scorecard"),
        (texts.FOREST, "regression", "tree ensemble (random forest)"),
        (texts.BOOSTED, "classification", "tree ensemble (gradient boosting)"),
        (texts.BAYES, "classification", "naive Bayes"),
        (texts.RULES, "classification", "rule set"),
        (texts.BASKETS, "association", "association rules"),
        (texts.ISOLATION, "anomaly", "isolation forest"),
        (texts.NEIGHBORS, "classification", "k-nearest neighbors"),
        (texts.PROJECTION, "dimension_reduction", "principal component analysis"),
    ],
)
def test_the_task_and_the_algorithm_are_told_in_words(tmp_path: Path, text: str, task: str, algorithm: str) -> None:
    signature = describe(tmp_path, text)
    assert (signature.task, signature.algorithm.name) == (task, algorithm)


def test_the_file_says_where_it_comes_from(tmp_path: Path) -> None:
    signature = describe(tmp_path, texts.TREE)
    assert (signature.format, signature.format_version) == ("pmml", {"pmml_version": "4.4"})
    assert (signature.platform, signature.engine, signature.function) == ("pmml_pmmlv4", "pypmml", "classification")
    assert signature.producer == Producer("Pen", "2")
    assert signature.metadata == {"description": "by hand", "copyright": "us", "modelName": "grades"}
    assert signature.algorithm.detail == "TreeModel"


def test_inputs_tell_what_they_allow(tmp_path: Path) -> None:
    size, rooms, color = inputs(tmp_path, texts.REGRESSION).values()
    assert (size.datatype, size.measure, size.required) == ("FP64", "continuous", True)
    assert size.intervals == (Interval(0.0, 100.0, min_inclusive=True, max_inclusive=False),)
    assert (rooms.datatype, rooms.required, rooms.nullable) == ("INT64", False, True)
    assert rooms.missing == Treatment("asMedian", 5)
    assert (color.values, color.invalid) == (("red", "blue"), Treatment("asIs"))
    assert size.invalid == Treatment("returnInvalid")


def test_targets_tell_their_classes_in_their_own_type(tmp_path: Path) -> None:
    assert describe(tmp_path, texts.LOGISTIC).targets == (Target("churn", "INT64", "categorical", (0, 1)),)


def test_a_value_that_means_missing_is_allowed_last(tmp_path: Path) -> None:
    text = texts.TREE.replace('<Value value="clerk"/>', '<Value value="?" property="missing"/><Value value="clerk"/>')
    assert inputs(tmp_path, text)["job"].values == ("clerk", "nurse", "?")


def test_an_input_may_be_missing_where_the_model_looks_for_that(tmp_path: Path) -> None:
    assert inputs(tmp_path, texts.SCORECARD)["age"].required is False
    assert inputs(tmp_path, texts.TREE)["age"].required is True
    tolerant = texts.TREE.replace("<TreeModel", '<TreeModel missingValueStrategy="lastPrediction"')
    assert inputs(tmp_path, tolerant)["age"].required is False
    strict = texts.SCORECARD.replace('name="age"/>', 'name="age" missingValueTreatment="returnInvalid"/>')
    assert inputs(tmp_path, strict)["age"].required is True


def test_dates_are_strings_that_say_what_they_are(tmp_path: Path) -> None:
    day = inputs(tmp_path, texts.DATED)["day"]
    assert (day.datatype, day.logical_type) == ("BYTES", "date")


def test_declared_probabilities_become_one_vector_with_labels(tmp_path: Path) -> None:
    label, vector = describe(tmp_path, texts.TREE).outputs
    assert (label.name, label.role, label.datatype, label.target) == ("grade_answer", "label", "BYTES", "grade")
    assert (vector.name, vector.role, vector.shape, vector.labels) == (
        "probabilities",
        "probability",
        (-1, 2),
        ("low", "high"),
    )


def test_the_first_of_several_models_is_served(tmp_path: Path) -> None:
    second = texts.REGRESSION[texts.REGRESSION.index("<RegressionModel") : texts.REGRESSION.index("</PMML>")]
    signature = describe(tmp_path, texts.REGRESSION.replace("</PMML>", second + "</PMML>"))
    assert signature.algorithm.detail == "RegressionModel"
    assert signature.metadata["models"] == "the file holds 2 models; the first is served"


def test_extensions_and_namespace_prefixes_change_nothing(tmp_path: Path) -> None:
    plain = describe(tmp_path, texts.TREE)
    prefixed = (
        texts.TREE.replace("xmlns=", "xmlns:p=").replace("</", "</p:").replace("<", "<p:").replace("<p:/p:", "</p:")
    )
    assert describe(tmp_path, prefixed.replace("<p:?", "<?")) == plain
    noise = '<Extension name="a"><DataField name="ghost"/><SimplePredicate field="ghost"/></Extension>'
    assert describe(tmp_path, texts.TREE.replace("<DataDictionary>", "<DataDictionary>" + noise)) == plain


def test_describing_starts_no_java(tmp_path: Path) -> None:
    path = tmp_path / "model.pmml"
    path.write_text(texts.TREE, encoding="utf-8")
    script = (
        "import sys, jpype; from pathlib import Path; from serving.engines.pmml import PmmlEngine; "
        "PmmlEngine().describe(Path(sys.argv[1])); print(jpype.isJVMStarted())"
    )
    ran = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout == "False\n"
