"""Models that are nothing but trees: compiled code answers as onnxruntime does, to the bit, or leaves them to it."""

import dataclasses
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from serving.engines.onnx_forest import ForestSession, answers_alike, load_quick_session, read_trees_of
from serving.engines.onnx_rewriting import load_session
from serving.engines.onnx_tree_lists import NotTrees
from serving.engines.onnx_trees import rows_around
from serving.native.forest import NODE, SPLIT, WEIGHT, Forest, Trees
from serving.native.library import Library
from tests.serving.native.tree_models import MODELS, WIDTH, Make, classifier, lists, regressor, same, sessions

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SIZES = (1, 2, 15, 16, 17, 33, 1023, 1025, 2500)  # around what goes side by side, and what goes in a block


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_compiled_trees_answer_as_the_runtime_does(make: Make, seed: int, tmp_path: Path, library: Library) -> None:
    chance = np.random.default_rng(seed)
    session, quick = sessions(make(chance), tmp_path, library)
    outputs = quick.model.outputs
    assert answers_alike(session, quick)
    for size in SIZES:
        rows: dict[str, NDArray[Any]] = {"x": rows_around(quick.model.trees, size, chance)}
        assert same(session.run(outputs, rows), quick.run(outputs, rows)), size


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("count", [1, 40])
def test_they_answer_between_arrays_as_well(make: Make, count: int, tmp_path: Path, library: Library) -> None:
    chance = np.random.default_rng(3)
    session, quick = sessions(make(chance), tmp_path, library)
    model = quick.model
    given = np.zeros((count, WIDTH), np.float32)
    scores, labels = (np.zeros((count, model.trees.outputs), np.float32), np.zeros(count, np.int64))
    written: dict[str, NDArray[Any]] = {model.scores: scores}
    if model.labels and not model.texts:
        written[model.labels] = labels
    run = quick.bind({"x": given}, written, [model.labels] if model.texts else [])
    for _ in range(20):
        given[:] = rows_around(model.trees, count, chance)
        texts = run()
        ours = {**written, **dict(zip([model.labels], texts, strict=False))}
        assert same(session.run(model.outputs, {"x": given}), [ours[name] for name in model.outputs])


def test_an_example_is_taken_up(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTSIDE_NATIVE", str(library.path.parent))
    assert isinstance(load_quick_session(EXAMPLES / "diabetes.onnx", 1), ForestSession)


def test_it_is_left_to_the_runtime_where_compiled_code_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTSIDE_NATIVE", "off")
    assert not isinstance(load_quick_session(EXAMPLES / "diabetes.onnx", 1), ForestSession)


@pytest.mark.parametrize("threads", [2, 3, 100])
def test_threads_that_share_the_rows_change_no_answer(threads: int, tmp_path: Path, library: Library) -> None:
    chance = np.random.default_rng(7)
    session, quick = sessions(MODELS["some texts"](chance), tmp_path, library, threads)
    for size in (999, 1000, 1001, 4096, 10_007):
        rows: dict[str, NDArray[Any]] = {"x": rows_around(quick.model.trees, size, chance)}
        assert same(session.run(quick.model.outputs, rows), quick.run(quick.model.outputs, rows)), size


def test_rows_of_another_kind_are_the_runtimes(tmp_path: Path, library: Library) -> None:
    chance = np.random.default_rng(4)
    session, quick = sessions(MODELS["a sum"](chance), tmp_path, library)
    table = rows_around(quick.model.trees, 80, chance)
    for rows in (table[::2], table[:, ::-1], table.T.copy().T, table[:0]):
        assert same(session.run(["y"], {"x": rows}), quick.run(["y"], {"x": rows}))


def test_many_threads_ask_at_once(tmp_path: Path, library: Library) -> None:
    chance = np.random.default_rng(5)
    session, quick = sessions(MODELS["boosted"](chance), tmp_path, library)
    tables = [rows_around(quick.model.trees, 1500, chance) for _ in range(4)]
    expected = [session.run(quick.model.outputs, {"x": rows}) for rows in tables]
    wrong: list[int] = []

    def ask(at: int) -> None:
        for _ in range(30):
            if not same(expected[at], quick.run(quick.model.outputs, {"x": tables[at]})):
                wrong.append(at)

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_trees_that_answer_otherwise_are_found_out(tmp_path: Path, library: Library) -> None:
    session, quick = sessions(MODELS["a sum"](np.random.default_rng(6)), tmp_path, library)
    trees = quick.model.trees
    nodes = trees.nodes.copy()
    at = int(np.flatnonzero(nodes["kind"])[0])
    nodes["value"][at] = np.nextafter(nodes["value"][at], np.float32(np.inf))
    changed = Forest(library, dataclasses.replace(trees, nodes=nodes))
    assert not answers_alike(session, ForestSession(session, changed, quick.model))


def other(**changes: Any) -> onnx.ModelProto:
    """A sum of trees with some attributes otherwise."""
    chance = np.random.default_rng(8)
    made = lists(chance, 5, 10)
    for name, value in changes.items():
        if name in made.attributes:
            made.attributes[name] = value
    return regressor(chance, made, **{name: value for name, value in changes.items() if name not in made.attributes})


def shared() -> onnx.ModelProto:
    """A tree whose two sides are one, as some exporters write a choice of categories."""
    chance = np.random.default_rng(9)
    made = lists(chance, 1, 0)
    modes = ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF"]
    made.attributes.update(
        nodes_treeids=[0] * 4, nodes_nodeids=[0, 1, 2, 3], nodes_featureids=[0, 1, 0, 0], nodes_values=[0.0] * 4,
        nodes_modes=modes, nodes_truenodeids=[2, 2, 0, 0], nodes_falsenodeids=[1, 3, 0, 0],
    )  # fmt: skip
    return regressor(chance, dataclasses.replace(made, leaves=[(0, 2), (0, 3)]))


def two_base_values() -> onnx.ModelProto:
    chance = np.random.default_rng(1)
    return classifier(chance, lists(chance, 5, 5), [0, 1], base_values=[0.1, 0.2])


def modes(mode: str) -> list[str]:
    given: list[str] = lists(np.random.default_rng(8), 5, 10).attributes["nodes_modes"]
    return [mode if each != "LEAF" else each for each in given]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (other(nodes_modes=modes("BRANCH_GT")), "compares otherwise"),
        (other(post_transform="LOGISTIC"), "something else of its leaves"),
        (other(aggregate_function="MIN"), "something else of its leaves"),
        (shared(), "below two others"),
        (two_base_values(), "another way"),
    ],
    ids=["greater than", "a link", "the least", "shared", "two base values"],
)  # fmt: skip
def test_what_is_not_compiled_is_the_runtimes(made: onnx.ModelProto, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    with pytest.raises(NotTrees, match=reason):
        read_trees_of(path)
    rows: dict[str, NDArray[Any]] = {"x": np.zeros((3, WIDTH), np.float32)}
    names = [output.name for output in made.graph.output]
    assert same(load_session(path, 1).run(names, rows), load_quick_session(path, 1).run(names, rows))


def one_tree() -> Trees:
    """A split at 0 with two leaves."""
    nodes = np.array([(0.0, 1, 1, SPLIT), (1.0, 0, 1, 0), (2.0, 0, 2, 0)], NODE)
    return Trees(nodes, np.zeros(1, np.int32), 2, 1, "sums")


def listed(first: list[int], targets: list[int]) -> dict[str, Any]:
    """Weights for each node's targets."""
    weights = np.array([(target, 0.5) for target in targets], WEIGHT)
    return {"first": np.array(first, np.int32), "weights": weights}


def with_node(at: int, **values: float) -> Trees:
    trees = one_tree()
    for name, value in values.items():
        trees.nodes[name][at] = value
    return trees


@pytest.mark.parametrize(
    "trees",
    [
        with_node(0, feature=2),
        with_node(0, feature=-1),
        with_node(0, below=0),
        with_node(0, below=2),
        with_node(0, below=-1),
        with_node(1, below=2),
        dataclasses.replace(one_tree(), roots=np.array([3], np.int32)),
        dataclasses.replace(one_tree(), roots=np.array([-1], np.int32)),
        dataclasses.replace(one_tree(), roots=np.zeros(0, np.int32)),
        dataclasses.replace(one_tree(), roots=np.zeros(1, np.int64)),
        dataclasses.replace(one_tree(), width=0),
        dataclasses.replace(one_tree(), nodes=one_tree().nodes[:0]),
        dataclasses.replace(one_tree(), nodes=one_tree().nodes[::-1]),
        dataclasses.replace(one_tree(), base=np.zeros(2, np.float32)),
        dataclasses.replace(one_tree(), finish="two_classes"),
        dataclasses.replace(one_tree(), finish="two_classes", labels=np.arange(1)),
        dataclasses.replace(one_tree(), finish="classes", labels=np.arange(1)),
        dataclasses.replace(one_tree(), targets=2),
        dataclasses.replace(one_tree(), targets=2, **listed([0, 0, 1, 3], [0, 1])),
        dataclasses.replace(one_tree(), targets=2, **listed([0, 2, 1, 2], [0, 1])),
        dataclasses.replace(one_tree(), targets=2, **listed([0, 0, 1, 2], [0, 2])),
        dataclasses.replace(one_tree(), targets=2, **listed([0, 0, 1, 2], [0, -1])),
        dataclasses.replace(one_tree(), targets=2, **listed([0, 0, 2], [0, 1])),
    ],
)
def test_trees_that_lead_nowhere_are_not_walked(trees: Trees, library: Library) -> None:
    with pytest.raises(ValueError, match="do not fit together"):
        Forest(library, trees)
