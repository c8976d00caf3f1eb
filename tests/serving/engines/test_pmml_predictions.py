"""PMML models answer the numbers that their text says, computed by hand."""

import math
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.engines.base import Columns, InvalidModel, LoadedModel, PredictionRefused
from serving.engines.pmml import PmmlEngine
from serving.signature import Signature
from tests.serving.engines import pmml_texts as texts

Load = Callable[[str], tuple[Signature, LoadedModel]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    engine = PmmlEngine()

    def open_text(text: str) -> tuple[Signature, LoadedModel]:
        path = tmp_path / "model.pmml"
        path.write_text(text, encoding="utf-8")
        signature = engine.describe(path)
        return signature, engine.load(path, signature, threads=1)

    return open_text


def words(*values: str | None) -> NDArray[np.object_]:
    return np.array(values, np.object_)


def numbers(*values: float) -> NDArray[np.float64]:
    return np.array(values, np.float64)


def answer(load: Load, text: str, **columns: NDArray[np.generic]) -> dict[str, list[object]]:
    signature, model = load(text)
    answered = model.predict(columns)
    assert list(answered) == [output.name for output in signature.outputs]
    return {name: column.tolist() for name, column in answered.items()}


def flat(rows: list[object]) -> list[float]:
    return [float(value) for value in np.ravel(np.array(rows, np.float64))]


def test_a_tree_answers_label_and_probabilities_in_the_order_of_its_labels(load: Load) -> None:
    answered = answer(load, texts.TREE, age=np.array([20, 40, 50]), job=words("clerk", "nurse", "clerk"))
    assert answered["grade_answer"] == ["low", "high", "low"]
    assert flat(answered["probabilities"]) == pytest.approx([0.9, 0.1, 0.25, 0.75, 0.6, 0.4])


def test_a_regression_adds_numbers_and_categories_and_replaces_a_missing_value(load: Load) -> None:
    rooms = np.array([2, None, 1], np.object_)
    answered = answer(load, texts.REGRESSION, size=numbers(1, 2, 3), rooms=rooms, color=words("red", "blue", "green"))
    # 1 + 2·1 + 3·2 + 10 · 1 + 2·2 + 3·5 (the replacement) · 1 + 2·3 + 3·1 (a colour that is let through as it is)
    assert answered == {"value": [19.0, 20.0, 10.0]}


def test_an_input_that_is_left_out_takes_its_replacement(load: Load) -> None:
    assert answer(load, texts.REGRESSION, size=numbers(2), color=words("blue")) == {"value": [20.0]}


def test_a_logistic_regression_without_output_answers_integer_labels_and_probabilities(load: Load) -> None:
    answered = answer(load, texts.LOGISTIC, x=np.array([2, -1], np.float32))
    assert answered["label"] == [1, 0]
    assert all(type(label) is int for label in answered["label"])
    sure = 1 / (1 + math.exp(-3))
    assert flat(answered["probabilities"]) == pytest.approx([1 - sure, sure, sure, 1 - sure])


def test_clusters_come_with_the_distance_to_each(load: Load) -> None:
    answered = answer(load, texts.CLUSTERS, x=numbers(1, 9), y=numbers(2, 8))
    assert answered["cluster"] == ["near", "far"]
    assert flat(answered["distances"]) == pytest.approx([5, 145, 145, 5])


def test_a_line_break_separates_the_values_of_an_array(load: Load) -> None:
    assert "10\n10" in texts.CLUSTERS
    assert flat(answer(load, texts.CLUSTERS, x=numbers(10), y=numbers(10))["distances"]) == [200.0, 0.0]


def test_a_neural_network_passes_its_layers(load: Load) -> None:
    # relu(2·3-1)·3 + relu(-3)·5 + 4 · relu(-5)·3 + relu(2)·5 + 4
    assert answer(load, texts.NETWORK, x=numbers(3, -2)) == {"value": [19.0, 14.0]}


def test_a_scorecard_scores_a_missing_value_and_gives_reasons(load: Load) -> None:
    answered = answer(load, texts.SCORECARD, age=numbers(30, 50, math.nan))
    assert answered == {"final": [17.0, 40.0, 15.0], "why": ["AGE", None, "AGE"]}


def test_a_forest_averages_its_trees(load: Load) -> None:
    answered = answer(load, texts.FOREST, x=numbers(0, 1.5, 9))
    assert answered["value"] == pytest.approx([(10 + 1 + 4) / 3, (20 + 1 + 4) / 3, (20 + 3 + 8) / 3])


def test_votes_become_probabilities(load: Load) -> None:
    answered = answer(load, texts.VOTES, x=numbers(1.5, 2.5))
    assert answered["label"] == ["a", "b"]
    assert flat(answered["probabilities"]) == pytest.approx([2 / 3, 1 / 3, 1 / 3, 2 / 3])


def test_a_chain_answers_with_its_last_segment(load: Load) -> None:
    answered = answer(load, texts.BOOSTED, x=numbers(0, 1.5, 9))
    assert answered["label"] == ["no", "yes", "yes"]
    yes = [1 / (1 + math.exp(-margin)) for margin in (-1.5, 0.5, 1.5)]
    assert flat(answered["probabilities"]) == pytest.approx([p for each in yes for p in (1 - each, each)])


def test_a_selection_answers_with_the_first_segment_that_applies(load: Load) -> None:
    assert answer(load, texts.SELECTED, x=numbers(-9, -1, 1, 9)) == {"value": [-100.0, -1.0, 1.0, 100.0]}


def test_naive_bayes_multiplies_counts_and_ignores_what_is_missing(load: Load) -> None:
    answered = answer(load, texts.BAYES, wind=words("weak", None))
    weak = 9 * (6 / 9) / (9 * (6 / 9) + 5 * (2 / 5))
    assert flat(answered["probabilities"]) == pytest.approx([weak, 1 - weak, 9 / 14, 5 / 14])


def test_a_rule_set_answers_its_confidence(load: Load) -> None:
    answered = answer(load, texts.RULES, age=numbers(18, 18), job=words("pilot", "cook"))
    assert answered == {"label": ["high", "low"], "confidence": [0.8, 0.25]}


def test_an_association_model_answers_the_rule_that_fires_and_nothing_where_none_does(load: Load) -> None:
    answered = answer(load, texts.BASKETS, beer=np.array([True, False]), crisps=np.array([False, False]))
    assert answered["consequent"] == ["crisps", None]
    assert answered["confidence"][0] == 0.75
    assert np.isnan(flat(answered["support"])[1])


def test_the_items_of_a_basket_count_together_and_never_reach_the_next_call(load: Load) -> None:
    _, model = load(texts.TRANSACTIONS)
    asked = {"basket": words("1", "1", "2"), "item": words("milk", "beer", "milk")}
    assert model.predict(asked)["consequent"].tolist() == [None, "crisps", None]
    assert model.predict({"basket": words("3"), "item": words("beer")})["consequent"].tolist() == ["crisps"]
    assert model.predict({"basket": words("3"), "item": words("milk")})["consequent"].tolist() == [None]


def test_an_isolation_forest_answers_a_score(load: Load) -> None:
    average_path = 2 * (math.log(3) + 0.57721566) - 2 * 3 / 4
    expected = [2 ** (-1 / average_path), 2 ** (-3 / average_path)]
    assert answer(load, texts.ISOLATION, x=numbers(1, 9))["score"] == pytest.approx(expected)


def test_a_model_with_two_targets_answers_both(load: Load) -> None:
    signature, model = load(texts.NEIGHBORS)
    answered = model.predict({"x": numbers(1, 9)})
    assert [(output.role, output.target) for output in signature.outputs] == [("label", "kind"), ("value", "size")]
    assert [column.tolist() for column in answered.values()] == [["a", "b"], [1.5, 7.5]]


@pytest.mark.parametrize("text", [texts.PROJECTION, texts.COMPONENTS])
def test_a_projection_answers_its_components(load: Load, text: str) -> None:
    signature, model = load(text)
    answered = model.predict({"a": numbers(3, 1), "b": numbers(5, 2)})
    assert signature.task == "dimension_reduction"
    assert [output.role for output in signature.outputs] == ["component", "component"]
    offset = 1 if text == texts.PROJECTION else 0
    assert [column.tolist() for column in answered.values()] == [[8 - offset, 3 - offset], [-2 - offset, -1 - offset]]


def test_dates_are_counted_from_their_year(load: Load) -> None:
    assert answer(load, texts.DATED, day=words("1970-01-11", "2024-01-01")) == {"value": [20.0, 2 * 19723.0]}


def test_a_date_that_is_none_is_refused_and_named(load: Load) -> None:
    _, model = load(texts.DATED)
    with pytest.raises(PredictionRefused, match="day: 'tomorrow' is no ISO 8601 date"):
        model.predict({"day": words("tomorrow")})


def test_a_single_precision_value_on_a_threshold_counts_as_it_is_written(load: Load) -> None:
    text = texts.document(
        texts.number("y") + texts.number("x", "float"),
        f'<MiningModel functionName="regression">{texts.schema("x", target="y")}'
        f"{texts.segments('sum', texts.stump('x', 1.2, '1', '2'))}</MiningModel>",
    )
    # As a double, the float nearest to 1.2 is above 1.2.
    one, many = np.array([1.2], np.float32), np.full(20, 1.2, np.float32)
    assert answer(load, text, x=one) == {"value": [1.0]}
    assert answer(load, text, x=many) == {"value": [1.0] * 20}


def test_a_record_that_the_model_cannot_answer_is_refused(load: Load) -> None:
    _, model = load(texts.REGRESSION)
    with pytest.raises(PredictionRefused, match="no answer for record 1"):
        model.predict({"size": numbers(1, math.nan), "color": words("red", "red")})
    with pytest.raises(PredictionRefused, match="no answer for this record"):
        model.predict({"size": numbers(math.nan), "color": words("red")})


def test_one_record_and_many_answer_alike(load: Load) -> None:
    _, model = load(texts.FOREST)
    column = numbers(*(i / 7 for i in range(40)))
    many = model.predict({"x": column})["value"]
    assert [model.predict({"x": column[i : i + 1]})["value"][0] for i in range(40)] == many.tolist()


def test_threads_share_a_model_whose_categories_are_not_declared(load: Load) -> None:
    _, model = load(texts.RULES)
    wrong: list[Columns] = []

    def ask(start: int) -> None:
        for i in range(40):
            asked = words("pilot", f"job {start} {i}")
            answered = model.predict({"age": numbers(18, 18), "job": asked})
            if answered["label"].tolist() != ["high", "low"]:
                wrong.append(answered)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("encoding", "name"), [("utf-8-sig", "UTF-8"), ("utf-16", "UTF-16"), ("latin-1", "ISO-8859-1")]
)
def test_a_file_in_another_encoding_answers_its_own_letters(tmp_path: Path, encoding: str, name: str) -> None:
    path = tmp_path / "model.pmml"
    text = texts.TREE.replace("high", "höher").replace('encoding="UTF-8"', f'encoding="{name}"')
    path.write_bytes(text.encode(encoding))
    engine = PmmlEngine()
    signature = engine.describe(path)
    answered = engine.load(path, signature, threads=1).predict({"age": np.array([40]), "job": words("nurse")})
    assert answered["grade_answer"].tolist() == ["höher"]


def test_a_tree_of_nine_hundred_levels_is_served(load: Load) -> None:
    opening = "".join(
        f"<Node score='{i}'><SimplePredicate field='x' operator='greaterThan' value='{i}'/>" for i in range(900)
    )
    text = texts.document(
        texts.number("x") + texts.number("y"),
        f"<TreeModel functionName='regression' noTrueChildStrategy='returnLastPrediction'>"
        f"{texts.schema('x', target='y')}<Node score='-1'><True/>{opening}{'</Node>' * 900}</Node></TreeModel>",
    )
    assert answer(load, text, x=numbers(899.5, 5000, 0)) == {"value": [899.0, 899.0, -1.0]}


def test_a_model_that_the_runtime_refuses_says_why(load: Load) -> None:
    text = texts.REGRESSION.replace(
        '<NumericPredictor name="size" coefficient="2"/>', '<NumericPredictor name="size"/>'
    )
    with pytest.raises(InvalidModel) as refused:
        load(text)
    assert refused.value.code == "pmml_refused_by_runtime"
    assert "'coefficient' is missing" in refused.value.message
