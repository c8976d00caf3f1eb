"""Sessions whose model is nothing but trees, answered by compiled code: the runtime's own answers, to the bit, sooner.

As the runtime answers on one thread: with more, it adds up a forest's trees in an order that depends on how many there
are, and on how many rows. Here threads share the rows, and the answers are the same for any number of them.

A forest is taken up once it has answered rows around all of its thresholds as the runtime does, and sooner.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.engines.base import InvalidModel
from serving.engines.onnx_file import read_model
from serving.engines.onnx_outputs import unwrap_outputs
from serving.engines.onnx_rewriting import load_session
from serving.engines.onnx_runtime import RUNTIME_ERRORS, Array, Arrays, Session
from serving.engines.onnx_session import may_be_trees
from serving.engines.onnx_tree_lists import NotTrees
from serving.engines.onnx_trees import TreeModel, rows_around, tree_model
from serving.engines.providers import gpus_asked_for
from serving.native.forest import Forest
from serving.native.library import Library, NotThere, open_library

_SEED, _ROUNDS = 1, 5
_FEW_WALKS = 64  # from roots to leaves: onnxruntime has done them before Python has told the compiled code of them
_SIZES: Final = (1, 2, 9, 131, 512)  # of what is tried: alone, a few, more than go side by side, more than in a block

# To leave a model to the runtime. RuntimeError and MemoryError are among the last ones.
_REASONS: tuple[type[Exception], ...] = (NotTrees, NotThere, InvalidModel, *RUNTIME_ERRORS)


def load_quick_session(path: Path, threads: int) -> Session:
    """A session over the file (see `load_session`), or one that answers as it does, only sooner.

    Raises `InvalidModel` when onnxruntime refuses the model.
    """
    if gpus_asked_for() or not may_be_trees(path):
        return load_session(path, threads)
    try:
        model, library = read_trees_of(path), open_library()
    except _REASONS:
        return load_session(path, threads)
    session = load_session(path, 1)
    quick = _proven(session, model, library, threads)
    if quick is None:
        return session if threads == 1 else load_session(path, threads)
    return quick


def _proven(session: Session, model: TreeModel, library: Library, threads: int) -> "ForestSession | None":
    try:
        quick = ForestSession(session, Forest(library, model.trees, threads), model)
        if answers_alike(session, quick):
            return quick if _is_quicker(session, quick) else None
        sys.stderr.write("the model's trees are left to onnxruntime: compiled code answers otherwise\n")
    except _REASONS:
        pass
    return None


def read_trees_of(path: Path) -> TreeModel:
    """The trees that the file is. Raises `NotTrees`, or `InvalidModel`."""
    model = read_model(path)
    unwrap_outputs(model)
    return tree_model(model)


class ForestSession:
    """See `Session`. What is no plain table of numbers, and what only the runtime can tell, is the runtime's own."""

    def __init__(self, session: Session, forest: Forest, model: TreeModel) -> None:
        self._session, self._forest, self.model = session, forest, model
        self._texts = None if model.texts is None else np.array(model.texts, object)

    def run(self, outputs: list[str], inputs: dict[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """See `Session.run`."""
        rows = inputs[self.model.input]
        told = self.told(outputs, rows) if self._takes(rows) and self._is_large(rows) else None
        return self._session.run(outputs, inputs) if told is None else told

    def told(self, outputs: Sequence[str], rows: Array) -> list[Array] | None:
        """What the trees say of rows `[n, width]`, contiguous FP32; `None` where only the runtime can tell."""
        answer = self._forest.answer(rows)
        if answer is None:
            return None
        by_name = {self.model.scores: answer[0], self.model.labels: self._named(answer[1])}
        return [by_name[name] for name in outputs]

    def bind(self, inputs: Arrays, outputs: Arrays, texts: Sequence[str]) -> Callable[[], Sequence[Array]]:
        """See `Session.bind`."""
        rows, trees = inputs[self.model.input], self._forest.trees
        scores = outputs.get(self.model.scores, np.empty((len(rows), trees.outputs), np.float32))
        labels = outputs.get(self.model.labels, np.empty(len(rows), np.int64))
        fit = _is_plain(scores, np.float32, (len(rows), trees.outputs)) and _is_plain(labels, np.int64, (len(rows),))
        if not fit or not self._takes(rows):
            return self._session.bind(inputs, outputs, texts)
        run = self._forest.bound(rows, scores, None if trees.labels is None else labels)

        def bound() -> Sequence[Array]:
            if not run():
                return self._session.bind(inputs, outputs, texts)()
            return [self._named(labels) for _ in texts]

        return bound

    def get_providers(self) -> list[str]:
        """See `Session.get_providers`."""
        return self._session.get_providers()

    def _is_large(self, rows: Array) -> bool:
        return len(rows) * len(self._forest.trees.roots) >= _FEW_WALKS

    def _takes(self, rows: Array) -> bool:
        return len(rows) > 0 and _is_plain(rows, np.float32, (len(rows), self._forest.trees.width))

    def _named(self, labels: Array | None) -> Array:
        """The labels as they are told: what has none tells none."""
        if labels is None or self._texts is None:
            return np.empty(0) if labels is None else labels
        named: Array = self._texts[labels]
        return named


def answers_alike(session: Session, quick: ForestSession) -> bool:
    """Whether both say the same of rows around all thresholds. Raises one of `RUNTIME_ERRORS`."""
    model, random = quick.model, np.random.default_rng(_SEED)
    for size in _SIZES:
        rows = rows_around(model.trees, size, random)
        ours = quick.told(model.outputs, rows)
        if ours is not None and not all(map(_is_same, _asked(session, model, rows), ours)):
            return False
    return True


def _asked(session: Session, model: TreeModel, rows: Array) -> list[Array]:
    return session.run(model.outputs, {model.input: rows})


def _is_same(theirs: Array, ours: Array) -> bool:
    if theirs.dtype != ours.dtype or theirs.shape != ours.shape:
        return False
    return theirs.tolist() == ours.tolist() if theirs.dtype == object else theirs.tobytes() == ours.tobytes()


def _is_quicker(session: Session, quick: ForestSession) -> bool:
    """Whether rows that come for the first time are answered sooner: a processor learns the way of those it knows."""
    model, random = quick.model, np.random.default_rng(_SEED)
    theirs, ours = [], []
    for _ in range(_ROUNDS):
        rows: dict[str, Array] = {model.input: rows_around(model.trees, _SIZES[-1], random)}
        theirs.append(_took_s(session, model, rows))
        rows = {model.input: rows_around(model.trees, _SIZES[-1], random)}
        ours.append(_took_s(quick, model, rows))
    return min(ours) < min(theirs)


def _took_s(session: Session, model: TreeModel, rows: dict[str, Array]) -> float:
    begun = time.perf_counter()
    session.run(model.outputs, rows)
    return time.perf_counter() - begun


def _is_plain(array: Array, dtype: type[np.generic], shape: tuple[int, ...]) -> bool:
    """Whether it is memory of that kind, one number behind the other."""
    return array.dtype == dtype and array.shape == shape and array.flags.c_contiguous and array.flags.aligned
