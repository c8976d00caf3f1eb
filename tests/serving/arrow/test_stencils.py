"""An answer like an earlier one is told as that one was: the same bytes that columns and pyarrow make of it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.answer_table import NamedColumn
from serving.arrow.writing import write
from serving.engines.base import Columns
from serving.stencils import Stencils

ABOUT = {"model": "iris", "version": "1", "service": "iris"}
DICE = np.random.default_rng(3)
KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


def some(rows: int, kind: str, *width: int) -> NDArray[np.generic]:
    return DICE.normal(scale=50, size=(rows, *width)).astype(kind)


def told(stencils: Stencils, outputs: Columns, columns: list[NamedColumn]) -> bytes:
    """The general way, from which the short one learns."""
    count = len(next(iter(outputs.values())))
    written = write(columns, ABOUT)
    stencils.learn(outputs, count, columns, written)
    return written


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8, 1000])
def test_an_answer_of_one_shape_and_type_is_told_by_that_of_the_first(rows: int) -> None:
    for kind in KINDS:
        stencils = Stencils()
        for _ in range(3):
            outputs = {"a": some(rows, kind), "b": some(rows, "f4", 1), "c": some(rows, "i8", 3)}
            columns = [
                NamedColumn("third", outputs["c"]),
                NamedColumn("a", outputs["a"]),
                NamedColumn("b", outputs["b"].reshape(rows)),
            ]
            short = stencils.filled(outputs, rows)
            assert short in (None, told(stencils, outputs, columns))
        assert short is not None


def test_other_rows_types_and_names_are_not_told_by_it() -> None:
    stencils, outputs = Stencils(), {"y": some(8, "f4")}
    told(stencils, outputs, [NamedColumn("y", outputs["y"])])
    assert stencils.filled(outputs, 8)
    for other in ({"y": some(9, "f4")}, {"y": some(8, "i4")}, {"x": some(8, "f4")}, {"y": some(8, "f4", 1)}):
        assert stencils.filled(other, len(next(iter(other.values())))) is None
    assert stencils.filled({**outputs, "z": some(8, "f4")}, 8) is None
    assert stencils.filled(outputs, 4) is None


def test_memory_in_another_order_is_told_in_that_of_its_rows() -> None:
    stencils, outputs = Stencils(), {"y": some(8, "f4", 3)}
    told(stencils, outputs, [NamedColumn("y", outputs["y"])])
    turned = {"y": np.asfortranarray(outputs["y"])}
    assert stencils.filled(turned, 8) == write([NamedColumn("y", outputs["y"])], ABOUT)


@pytest.mark.parametrize(
    ("outputs", "columns"),
    [
        ({"y": (y := some(8, "f4", 2))}, [NamedColumn("a", y[:, 0]), NamedColumn("b", y[:, 1])]),
        ({"y": y}, [NamedColumn("y", y.copy())]),
        ({"y": y}, [NamedColumn("y", y.tolist())]),
        ({"y": (truths := some(8, "f4").astype(np.bool_))}, [NamedColumn("y", truths)]),
        ({"y": y, "z": y}, [NamedColumn("y", y), NamedColumn("z", y)]),
        ({"y": (texts := np.array(["a", "b"], np.object_))}, [NamedColumn("y", texts)]),
        ({"y": (nothing := np.zeros((0, 2), np.float32))}, [NamedColumn("y", nothing)]),
    ],
)
def test_what_is_more_than_an_outputs_memory_is_told_anew_each_time(
    outputs: Columns, columns: list[NamedColumn]
) -> None:
    stencils = Stencils()
    told(stencils, outputs, columns)
    assert stencils.filled(outputs, len(next(iter(outputs.values())))) is None


def test_only_some_are_kept() -> None:
    stencils, kept = Stencils(), 0
    every = [{"y": some(rows, "f4")} for rows in range(1, 150)]
    for outputs in every:
        told(stencils, outputs, [NamedColumn("y", outputs["y"])])
        kept = max(kept, sum(stencils.filled(each, len(each["y"])) is not None for each in every))
    assert 0 < kept <= 64
