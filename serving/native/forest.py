"""A forest of decision trees in the library's layout: each node 16 bytes, a split's two sides beside each other.

It answers float32 rows as ONNX Runtime does on one thread, to the bit, in less than half of the time.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from serving.native.library import Library

NODE: Final = np.dtype([("value", "=f4"), ("feature", "=i4"), ("below", "=i4"), ("kind", "=i4")])
WEIGHT: Final = np.dtype([("target", "=i4"), ("value", "=f4")])
SPLIT, TAKES_MISSING = 1, 2  # of a node's `kind`, as there
QUICK: Final = 2_000  # walks to a leaf: they are done before another thread could be woken

Finish = Literal["sums", "averages", "classes", "two_classes", "two_margins"]
Link = Literal["none", "logistic", "softmax"]
_FINISHES: Final[tuple[Finish, ...]] = ("sums", "averages", "classes", "two_classes", "two_margins")  # as there
_LINKS: Final[tuple[Link, ...]] = ("none", "logistic", "softmax")
Array = NDArray[np.generic]
Table = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Trees:
    """All that a forest is. `nodes` are of `NODE`, `weights` of `WEIGHT`."""

    nodes: Table
    roots: NDArray[np.int32]
    width: int  # of a row
    targets: int
    finish: Finish
    link: Link = "none"
    first: NDArray[np.int32] | None = None  # of each node's weights, and one more, where there are several targets
    weights: Table | None = None
    base: NDArray[np.float32] | None = None  # is added to each target
    labels: NDArray[np.int64] | None = None  # what each class is called
    has_missing: bool = False
    has_all: bool = False  # each row has a weight for each class

    @property
    def outputs(self) -> int:
        """How many numbers a row has for an answer."""
        return 2 if self.finish in ("two_classes", "two_margins") else self.targets


class _Layout(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("nodes", "roots", "first", "weights", "base", "labels")),
        *(
            (name, ctypes.c_int64)
            for name in ("trees", "width", "targets", "outputs", "finish", "link", "has_missing", "has_all", "threads")
        ),
    )


class Forest:
    """A forest in memory. Thread-safe."""

    def __init__(self, library: Library, trees: Trees, threads: int = 1) -> None:
        """`threads` share a large table. Raises `ValueError` for trees in which a walk would not end, or leave them."""
        _check(trees)
        self.trees = trees
        self._layout = _Layout(
            *(_address(array) for array in (trees.nodes, trees.roots, trees.first, trees.weights, trees.base)),
            _address(trees.labels),
            *(len(trees.roots), trees.width, trees.targets, trees.outputs),
            *(_FINISHES.index(trees.finish), _LINKS.index(trees.link), trees.has_missing, trees.has_all),
            max(threads, 1),
        )
        self._at = ctypes.addressof(self._layout)
        self._at_once = library.function("forest")
        self._answer = library.function_without_lock("forest")

    def answer(self, rows: Array) -> tuple[NDArray[np.float32], NDArray[np.int64] | None] | None:
        """Scores `[n, outputs]` and labels `[n]` (where it has classes) of rows `[n, width]`, contiguous float32;
        `None` where only the engine itself can tell."""
        count = len(rows)
        scores = np.empty((count, self.trees.outputs), np.float32)
        labels = None if self.trees.labels is None else np.empty(count, np.int64)
        is_told = self._call(count)(self._at, _address(rows), count, _address(scores), _address(labels))
        return (scores, labels) if is_told else None

    def _call(self, count: int) -> Callable[..., int]:
        return self._at_once if count * len(self.trees.roots) <= QUICK else self._answer

    def bound(self, rows: Array, scores: Array, labels: Array | None) -> Callable[[], bool]:
        """A function that answers what stands in `rows` then; whether it could."""
        call, at, count = self._call(len(rows)), self._at, len(rows)
        addresses = _address(rows), count, _address(scores), _address(labels)

        def run() -> bool:
            return bool(call(at, *addresses))

        return run


def _check(trees: Trees) -> None:
    nodes, count = trees.nodes, len(trees.nodes)
    _require(nodes.dtype == NODE and nodes.flags.c_contiguous and 0 < count < 2**31 - 1, "nodes")
    _require(trees.width > 0 and trees.targets > 0, "sizes")
    splits, at = (nodes["kind"] & SPLIT).astype(bool), np.arange(count)
    _require(bool(((nodes["feature"] >= 0) & (nodes["feature"] < trees.width)).all()), "features")
    _require(bool((nodes["below"][~splits] == at[~splits]).all()), "leaves")
    # Each step leads on, so that a walk ends.
    _require(bool(((nodes["below"] > at) & (nodes["below"] < count - 1))[splits].all()), "splits")
    _require(len(trees.roots) > 0 and trees.roots.dtype == np.int32 and trees.roots.flags.c_contiguous, "roots")
    _require(bool(((trees.roots >= 0) & (trees.roots < count)).all()), "roots")
    if trees.base is not None:
        _require(trees.base.dtype == np.float32 and len(trees.base) == trees.targets, "base")
    if trees.finish not in ("sums", "averages"):
        classes = trees.targets if trees.finish == "classes" else 2
        _require((trees.targets > 1) == (trees.finish == "classes"), "targets")
        _require(trees.labels is not None and trees.labels.dtype == np.int64 and len(trees.labels) == classes, "labels")
    if trees.targets > 1:
        _check_weights(trees)


def _check_weights(trees: Trees) -> None:
    first, weights = trees.first, trees.weights
    _require(first is not None and weights is not None, "weights")
    assert first is not None
    assert weights is not None
    _require(first.dtype == np.int32 and len(first) == len(trees.nodes) + 1, "weights")
    _require(weights.dtype == WEIGHT and weights.flags.c_contiguous and first.flags.c_contiguous, "weights")
    _require(bool(first[0] == 0 and (np.diff(first) >= 0).all() and first[-1] <= len(weights)), "weights")
    _require(bool(((weights["target"] >= 0) & (weights["target"] < trees.targets)).all()), "weights")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"the {what} of a forest do not fit together")


def _address(array: Array | None) -> int | None:
    return None if array is None else int(array.__array_interface__["data"][0])
