"""An answer like an earlier one is told as that one was: the same bytes that columns and pyarrow make of it."""

from collections.abc import Callable

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


def told(stencils: Stencils, outputs: Columns, columns_of: Callable[[Columns], list[NamedColumn]]) -> bytes:
    """The general way, from which the short one learns."""
    count = len(next(iter(outputs.values())))
    stencils.learn(outputs, count, lambda outputs, count: columns_of(outputs), lambda columns: write(columns, ABOUT))
    return write(columns_of(outputs), ABOUT)


def plainly(outputs: Columns) -> list[NamedColumn]:
    """Each output as a column of its name."""
    return [NamedColumn(name, output) for name, output in outputs.items()]


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8, 1000])
def test_an_answer_of_one_shape_and_type_is_told_by_that_of_the_first(rows: int) -> None:
    for kind in KINDS:
        stencils = Stencils()
        for _ in range(3):
            outputs = {"a": some(rows, kind), "b": some(rows, "f4", 1), "c": some(rows, "i8", 3)}
            short = stencils.filled(outputs, rows)
            assert short in (None, told(stencils, outputs, in_other_words))
        assert short is not None


def in_other_words(outputs: Columns) -> list[NamedColumn]:
    """In another order, and one of them in another shape."""
    flat = outputs["b"].reshape(-1)
    return [NamedColumn("third", outputs["c"]), NamedColumn("a", outputs["a"]), NamedColumn("b", flat)]


def test_other_rows_types_and_names_are_not_told_by_it() -> None:
    stencils, outputs = Stencils(), {"y": some(8, "f4")}
    told(stencils, outputs, plainly)
    assert stencils.filled(outputs, 8)
    for other in ({"y": some(9, "f4")}, {"y": some(8, "i4")}, {"x": some(8, "f4")}, {"y": some(8, "f4", 1)}):
        assert stencils.filled(other, len(next(iter(other.values())))) is None
    assert stencils.filled({**outputs, "z": some(8, "f4")}, 8) is None
    assert stencils.filled(outputs, 4) is None


def test_noughts_teach_as_much_as_other_numbers() -> None:
    for shape in ((1,), (3,), (3, 5)):
        stencils, nothing = Stencils(), {"y": np.zeros(shape, np.float32)}
        told(stencils, nothing, plainly)
        outputs = {"y": some(shape[0], "f4", *shape[1:])}
        assert stencils.filled(outputs, shape[0]) == write(plainly(outputs), ABOUT)


def test_memory_in_another_order_is_told_in_that_of_its_rows() -> None:
    stencils, outputs = Stencils(), {"y": some(8, "f4", 3)}
    told(stencils, outputs, plainly)
    turned = {"y": np.asfortranarray(outputs["y"])}
    assert stencils.filled(turned, 8) == write([NamedColumn("y", outputs["y"])], ABOUT)


def parted(outputs: Columns) -> list[NamedColumn]:
    return [NamedColumn(f"{at}", outputs["y"][:, at]) for at in range(2)]


def copied(outputs: Columns) -> list[NamedColumn]:
    return [NamedColumn("y", outputs["y"].copy())]


def listed(outputs: Columns) -> list[NamedColumn]:
    return [NamedColumn("y", outputs["y"].tolist())]


def rounded(outputs: Columns) -> list[NamedColumn]:
    """The memory itself, unless there is something in it."""
    return [NamedColumn("y", outputs["y"].copy() if any(outputs["y"].tobytes()) else outputs["y"])]


Y = some(8, "f4", 2)


@pytest.mark.parametrize(
    ("outputs", "columns_of"),
    [
        ({"y": Y}, parted),
        ({"y": Y}, copied),
        ({"y": Y}, listed),
        ({"y": np.zeros((8, 2), np.float32)}, rounded),
        ({"y": np.zeros(8, np.bool_)}, plainly),
        ({"y": np.array([True, False])}, plainly),
        ({"y": Y, "z": Y}, plainly),
        ({"y": np.array(["a", "b"], np.object_)}, plainly),
        ({"y": np.zeros((0, 2), np.float32)}, plainly),
    ],
)
def test_what_is_more_than_an_outputs_memory_is_told_anew_each_time(
    outputs: Columns, columns_of: Callable[[Columns], list[NamedColumn]]
) -> None:
    stencils = Stencils()
    told(stencils, outputs, columns_of)
    assert stencils.filled(outputs, len(next(iter(outputs.values())))) is None


def test_only_some_are_kept() -> None:
    stencils, kept = Stencils(), 0
    every = [{"y": some(rows, "f4")} for rows in range(1, 150)]
    for outputs in every:
        told(stencils, outputs, plainly)
        kept = max(kept, sum(stencils.filled(each, len(each["y"])) is not None for each in every))
    assert 0 < kept <= 64
