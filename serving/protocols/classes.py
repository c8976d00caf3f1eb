"""Triton's classification extension: the highest scores of an output as texts, "score:index:label"."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving.answers import label_key
from serving.signature import Scalar


def classified(
    scores: NDArray[np.generic], count: int, labels: Sequence[Scalar], *, has_records: bool
) -> NDArray[np.generic]:
    """The `count` best of each record, best first, as texts of the shape [records, count]; without records [count].

    Numbers are written as C++'s `std::to_string` writes them, which is what clients of the extension split.
    """
    rows = scores.reshape(scores.shape[0], -1) if has_records and scores.ndim else scores.reshape(1, -1)
    width = rows.shape[1]
    count = min(count, width)
    best = _descending(rows)[:, :count]
    names = [f":{label_key(label)}" for label in labels] if len(labels) == width else [""] * width
    style = "%f:%d%s" if scores.dtype.kind == "f" else "%d:%d%s"
    texts = np.empty(best.shape, np.object_)
    picked = np.take_along_axis(rows, best, axis=1)
    texts.reshape(-1)[:] = [
        style % (score, index, names[index])
        for score, index in zip(picked.reshape(-1).tolist(), best.reshape(-1).tolist(), strict=True)
    ]
    return texts if has_records and scores.ndim else texts.reshape(-1)


def _descending(rows: NDArray[np.generic]) -> NDArray[np.intp]:
    """The places of the values, largest first, equal ones in their order, NaN last."""
    if rows.dtype.kind == "f":
        return np.argsort(-rows.astype(np.float64), axis=1, kind="stable")
    # An unsigned number has no negative.
    places: NDArray[np.intp] = np.argsort(rows[:, ::-1], axis=1, kind="stable")[:, ::-1]
    turned: NDArray[np.intp] = rows.shape[1] - 1 - places
    return turned
